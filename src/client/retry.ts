import { isNobodyThere } from '../http/connection-error.ts';
import { RelayError } from '../protocol/errors.ts';
import { backoff, pause } from './pause.ts';

/** When to ask again. */
export interface RetryOptions {
  /** How often, after failures that may pass. With 0 a router that cannot be reached is not waited for either. */
  readonly retries: number;
  /**
   * How long to wait for a connector that is offline, for a dataset that is too recent, or for a router that cannot be reached
   * for more than a minute, in milliseconds.
   */
  readonly waitMs: number;
  readonly signal: AbortSignal;
  /** Whether asking again is still possible: not once bytes are out that cannot be taken back. */
  readonly mayRetry?: () => boolean;
  /**
   * Told before each pause: which retry follows it, from 1; or undefined where it is the other side's absence that is waited
   * out, and for how many milliseconds still.
   */
  readonly onRetry?: (error: RelayError, delayMs: number, retry: number | undefined, leftMs?: number) => void;
  /** How to wait; default by timers, and no longer than until `signal` fires. */
  readonly pause?: (ms: number, signal?: AbortSignal) => Promise<void>;
  /** The time in milliseconds; default `Date.now`. */
  readonly now?: () => number;
}

const MAX_WAIT_STEP_MS = 5000;
const MAX_PAUSE_MS = 30_000;
/** A router or proxy that asks for a longer pause is asked again all the same. */
const MAX_RETRY_AFTER_MS = 10 * 60_000;
/**
 * How long a router is waited for that cannot be reached: a restart takes from seconds to the best part of a minute. Where
 * nobody was there from the first, its address is as likely to be wrong.
 */
const ROUTER_PATIENCE_MS = 60_000;
const NOBODY_PATIENCE_MS = 15_000;

/**
 * Runs `attempt` until it succeeds, fails for good, or the patience is used up; then throws its last error. Retries count
 * what a router answered. One that cannot be reached, because it restarts, is asked for a minute (a quarter of one where
 * nobody was there from the first), or `retries` times where
 * that takes longer. A connector that is offline is waited for within `waitMs`, since asking it again at once changes
 * nothing; so is a dataset that is too recent, where that is time enough. Pauses grow exponentially, with jitter, and are
 * never shorter than the router asked for (`Retry-After`, RFC 9110 §10.2.3).
 */
export async function withRetries<T>(attempt: () => Promise<T>, options: RetryOptions): Promise<T> {
  const { retries, waitMs, signal, mayRetry = () => true, onRetry, now = Date.now } = options;
  const sleep = options.pause ?? pause;
  const waitUntil = now() + waitMs;
  let awaySince: number | undefined;
  let wasThere = false;
  for (let failures = 0, waits = 0; ; ) {
    try {
      return await attempt();
    } catch (error) {
      if (!(error instanceof RelayError) || signal.aborted || !mayRetry()) throw error;
      const retryAfterMs = (error.details.retry_after ?? 0) * 1000;
      const asked = Math.min(MAX_RETRY_AFTER_MS, retryAfterMs);
      const isOffline = error.code === 'connector_offline';
      const isAway = error.code === 'router_unreachable' && error.retryable;
      const isTooRecent = error.code === 'dataset_too_recent';
      awaySince = isAway ? (awaySince ?? now()) : undefined;
      wasThere ||= !isNobodyThere(error.cause);
      const patienceMs = wasThere ? ROUTER_PATIENCE_MS : NOBODY_PATIENCE_MS;
      const patienceUntil = awaySince !== undefined && retries > 0 ? awaySince + patienceMs : waitUntil;
      const left = Math.max(waitUntil, patienceUntil) - now();
      // It will not be old enough in time.
      if (isTooRecent && retryAfterMs > left) throw error;
      if ((isOffline || isAway || isTooRecent) && left > 0) {
        waits += 1;
        // When a connector comes back nobody knows, so its router's guess is no reason to look less often.
        const least = isOffline ? 0 : asked;
        const delayMs = Math.min(left, Math.max(least, backoff(waits, 500, MAX_WAIT_STEP_MS)));
        onRetry?.(error, delayMs, undefined, left);
        await sleep(delayMs, signal);
      } else {
        // One that takes long not to answer is asked as often as any other.
        const spent = isAway ? Math.max(waits, failures) : failures;
        if (!error.retryable || isOffline || isTooRecent || spent >= retries) throw error;
        failures += 1;
        const delayMs = Math.max(asked, backoff(failures, 1000, MAX_PAUSE_MS));
        onRetry?.(error, delayMs, failures);
        await sleep(delayMs, signal);
      }
    }
  }
}
