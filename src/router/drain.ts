import type { Logger } from '../observability/logger.ts';
import { RelayError } from '../protocol/errors.ts';
import type { Dispatcher } from './dispatcher.ts';
import type { Link } from './links/link.ts';
import type { Registry } from './registry.ts';
import type { RequestLog } from './request-log.ts';

/** How far a router is on its way down. */
export interface RouterState {
  /** Load balancers may send requests here: what `/readyz` says. */
  ready: boolean;
  /** New requests and new links are refused. */
  draining: boolean;
}

interface DrainOptions {
  readonly state: RouterState;
  readonly registry: Registry;
  readonly dispatcher: Dispatcher;
  readonly requests: RequestLog;
  /** Whether a response that is no link is being written. */
  readonly isAnswering: () => boolean;
  /** How long requests are still taken after the router said that it is not ready, in ms. */
  readonly delayMs: number;
  /** How long all of it may take, the delay included, in ms. */
  readonly graceMs: number;
  readonly logger: Logger;
}

/** What a client is told beyond a third of the grace, in seconds: three attempts then reach past its end and a restart. */
const RESTART_S = 2;

/** What a router that goes down refuses with. Who asks three times at this pace is served by the one that comes after it. */
export function drainingError(graceMs: number): RelayError {
  return new RelayError('draining', 'this router is going down; try again', {
    details: { retry_after: Math.ceil(graceMs / 3000) + RESTART_S },
  });
}

/**
 * A router's way down in good order: it says that it is not ready, serves on for a delay, then takes nothing new and waits
 * for what runs. A link is let go of as soon as no request needs it (for a command that waits its turn, or a cancel), so
 * that its connector looks for a router that takes requests.
 */
export class Drain {
  readonly #options: DrainOptions;
  readonly #quiet = Promise.withResolvers<void>();
  readonly #aborted = new AbortController();
  readonly #released = new WeakSet<Link>();
  #isLooking = false;

  constructor(options: DrainOptions) {
    this.#options = options;
  }

  /** Resolves once nothing is under way, or the time is over, or `abort` was called. */
  async run(): Promise<void> {
    const { state, dispatcher, delayMs, graceMs, logger } = this.#options;
    const { signal } = this.#aborted;
    const endsAt = performance.now() + graceMs;
    state.ready = false;
    if (delayMs > 0) {
      logger.info({ delayMs }, 'not ready any more; still serving, so that load balancers can turn away');
      await sleep(delayMs, signal);
    }
    if (signal.aborted) return;
    state.draining = true;
    dispatcher.drain(drainingError(graceMs));
    logger.info({ running: dispatcher.size }, 'draining');
    this.#look();
    const over = new AbortController();
    const late = sleep(Math.max(0, endsAt - performance.now()), AbortSignal.any([signal, over.signal]));
    const outcome = await Promise.race([this.#quiet.promise, late]);
    over.abort();
    if (outcome === 'late') logger.warn({ running: dispatcher.size, graceMs }, 'what did not finish in time is ended');
  }

  /** Ends the waiting. */
  abort(): void {
    this.#aborted.abort();
  }

  /** Something has ended that a link, or the whole, may have waited for. */
  changed(): void {
    if (!this.#options.state.draining || this.#isLooking) return;
    this.#isLooking = true;
    // A request that goes on from one command to the next does so before this.
    setImmediate(() => {
      this.#isLooking = false;
      this.#look();
    });
  }

  #look(): void {
    const { registry, dispatcher, requests, isAnswering } = this.#options;
    for (const link of registry.links()) {
      const { mac } = link.hello;
      if (this.#released.has(link) || dispatcher.isBusy(mac) || requests.isRunning(mac)) continue;
      this.#released.add(link);
      registry.sendAway(link);
    }
    if (dispatcher.size === 0 && requests.running === 0 && !isAnswering()) this.#quiet.resolve();
  }
}

/** Resolves to `late` after `ms`, or to nothing as soon as the signal fires. */
function sleep(ms: number, signal: AbortSignal): Promise<'late' | undefined> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve('late'), ms);
    const stop = (): void => {
      clearTimeout(timer);
      resolve(undefined);
    };
    signal.addEventListener('abort', stop, { once: true });
    if (signal.aborted) stop();
  });
}
