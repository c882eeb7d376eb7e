import type { Logger } from '../../observability/logger.ts';
import { CLOSE } from '../../protocol/close-codes.ts';
import { RelayError } from '../../protocol/errors.ts';
import type { Clock } from '../clock.ts';
import type { Backoff } from './backoff.ts';
import type { OpenedLink } from './choose-transport.ts';
import { type Link, type LinkEnd, LinkError } from './link.ts';

/** A link that lived this long, in ms, was a good one: the next pause is short again. */
const STABLE_MS = 10_000;

/**
 * How long after the farewell of a router that goes down the pauses stay short, in ms: it may take its grace until another
 * is there, and requests wait for their connectors.
 */
const RETURN_MS = 60_000;

/** While the router cannot be reached, the log says so this often, in ms. */
const REPEAT_WARNING_MS = 60_000;

interface ReconnectOptions {
  /** Opens one link. @throws {LinkError} */
  readonly connectOnce: (signal: AbortSignal) => Promise<OpenedLink>;
  /** Tries for a better link than a fallback. */
  readonly improve: (signal: AbortSignal) => Promise<Link | undefined>;
  /** How long a fallback link is up before, and between, such tries, in ms. */
  readonly improveAfterMs: number;
  /** How long without a link before it rejects, in ms; undefined for never. */
  readonly giveUpAfterMs: number | undefined;
  /** Whether there is a token that the router has not refused yet. */
  readonly hasNewToken: () => boolean;
  readonly backoff: Backoff;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly onUp: (link: Link) => void;
  readonly onDown: (end: LinkEnd) => void;
}

/**
 * Keeps a link to the router, one after the other, until the signal aborts; then it closes the last one and resolves.
 * @throws {RelayError} router_unreachable when there was no link for longer than allowed; unauthorized, forbidden or
 * upgrade_required when the router refuses credential or version before there ever was one. Later refusals are waited out,
 * since a plant is far away.
 */
export async function keepConnected(options: ReconnectOptions, signal: AbortSignal): Promise<void> {
  const { clock, backoff } = options;
  const failures = new FailureLog(options.logger, clock);
  let lostAt = clock.now();
  let soonUntil = lostAt;
  let hasBeenUp = false;
  while (!signal.aborted) {
    let pauseMs: number;
    try {
      const opened = await options.connectOnce(signal);
      failures.clear();
      hasBeenUp = true;
      const openedAt = clock.now();
      const end = await stayConnected(opened, options, signal);
      if (signal.aborted) return;
      lostAt = clock.now();
      if (lostAt - openedAt >= STABLE_MS) backoff.reset();
      if (end.code === CLOSE.draining) soonUntil = lostAt + RETURN_MS;
      pauseMs = explainEnd(end, options);
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof LinkError)) throw error;
      // Whoever just set it up should hear of it at once; one that has worked waits for the router to be put right.
      if (error.code !== undefined && isRefusal(error) && !hasBeenUp) {
        throw new RelayError(error.code, error.message, { cause: error });
      }
      if (options.giveUpAfterMs !== undefined && clock.now() - lostAt >= options.giveUpAfterMs) {
        throw new RelayError('router_unreachable', error.message, { cause: error });
      }
      const isSoon = error.code === 'draining' || clock.now() < soonUntil;
      const isFinal = isRefusal(error) && !options.hasNewToken();
      pauseMs = isFinal ? backoff.nextSlow() : isSoon ? backoff.nextSoon() : backoff.next();
      failures.note(error, pauseMs);
    }
    try {
      await clock.sleep(pauseMs, signal);
    } catch {
      return;
    }
  }
}

/** Stays until the link, and whatever better one took its place, has ended. */
async function stayConnected(opened: OpenedLink, options: ReconnectOptions, signal: AbortSignal): Promise<LinkEnd> {
  let { link, isFallback } = opened;
  for (;;) {
    options.onUp(link);
    const close = (): void => link.close('the connector closes');
    signal.addEventListener('abort', close, { once: true });
    if (signal.aborted) close();
    const improvement = isFallback ? new Improvement(options, signal) : undefined;
    const first = await Promise.race([link.closed, ...(improvement === undefined ? [] : [improvement.result])]);
    signal.removeEventListener('abort', close);
    const isOwnDoing = first !== undefined && !isLink(first) && first.code === CLOSE.replaced && improvement?.isTrying;
    const better = isLink(first) ? first : await improvement?.finish(isOwnDoing === true);
    if (better === undefined) {
      const end = isOwnDoing ? { reason: 'a WebSocket took its place and did not get through' } : await link.closed;
      options.onDown(end);
      return end;
    }
    options.logger.info('WebSocket gets through again');
    link.close('replaced by a WebSocket');
    await link.closed;
    link = better;
    isFallback = false;
  }
}

/** Tries for a better link again and again. */
class Improvement {
  readonly #options: ReconnectOptions;
  readonly #over = new AbortController();
  readonly #signal: AbortSignal;
  #isLastTry = false;
  /** Whether a try is under way: then the router may have replaced the old link already. */
  isTrying = false;
  /** The better link once there is one; undefined when the tries have ended. */
  readonly result: Promise<Link | undefined>;

  constructor(options: ReconnectOptions, signal: AbortSignal) {
    this.#options = options;
    this.#signal = AbortSignal.any([signal, this.#over.signal]);
    this.result = this.#try().catch(() => undefined);
  }

  /** Ends the tries; the one that is under way may come to its end first if `waits`. */
  finish(waits: boolean): Promise<Link | undefined> {
    this.#isLastTry = true;
    if (!waits) this.#over.abort();
    return this.result;
  }

  async #try(): Promise<Link | undefined> {
    const { clock, improve, improveAfterMs } = this.#options;
    while (!this.#isLastTry) {
      // Spread, so that not all that fell back together try together.
      await clock.sleep(improveAfterMs * (0.75 + clock.random() / 2), this.#signal);
      this.isTrying = true;
      const link = await improve(this.#signal);
      this.isTrying = false;
      if (link !== undefined) return link;
    }
    return undefined;
  }
}

const isLink = (value: Link | LinkEnd | undefined): value is Link => value !== undefined && 'kind' in value;

/** Says why a link ended, where somebody has to act on it. @returns the pause before the next attempt. */
function explainEnd({ code, reason }: LinkEnd, { backoff, logger, hasNewToken }: ReconnectOptions): number {
  switch (code) {
    case CLOSE.replaced: {
      const pauseMs = backoff.nextSlow();
      logger.warn({ reason, pauseMs: Math.round(pauseMs) }, 'another connector uses this MAC; is it configured twice?');
      return pauseMs;
    }
    case CLOSE.notAuthorised: {
      if (hasNewToken()) {
        logger.info({ reason }, 'the router does not accept the token any more; coming back with the new one');
        return backoff.nextSoon();
      }
      const pauseMs = backoff.nextSlow();
      logger.error(
        { reason, pauseMs: Math.round(pauseMs) },
        'the router does not accept the token any more; put a new one into its place',
      );
      return pauseMs;
    }
    case CLOSE.draining: {
      logger.info({ reason }, 'the router goes down or wants its connectors elsewhere; coming back soon');
      return backoff.nextSoon();
    }
    default: {
      logger.warn({ code, reason }, 'the link to the router was lost');
      return backoff.next();
    }
  }
}

/** Whether the router itself says no, which another attempt in a moment would not change. */
const isRefusal = ({ code }: LinkError): boolean =>
  code === 'upgrade_required' || code === 'unauthorized' || code === 'forbidden';

/** Keeps a long outage from filling the log. */
class FailureLog {
  readonly #logger: Logger;
  readonly #clock: Clock;
  #warnedAt: number | undefined;
  #attempts = 0;
  #message = '';

  constructor(logger: Logger, clock: Clock) {
    this.#logger = logger;
    this.#clock = clock;
  }

  /** A link came up. */
  clear(): void {
    this.#warnedAt = undefined;
    this.#attempts = 0;
  }

  note(error: LinkError, pauseMs: number): void {
    this.#attempts++;
    const now = this.#clock.now();
    const isDue = this.#warnedAt === undefined || now - this.#warnedAt >= REPEAT_WARNING_MS;
    const level = isDue || error.message !== this.#message ? (isRefusal(error) ? 'error' : 'warn') : 'debug';
    const facts = { reason: error.message, attempt: this.#attempts, pauseMs: Math.round(pauseMs) };
    this.#logger[level](facts, error.code === 'upgrade_required' ? REFUSED_VERSION : 'not connected; trying again');
    if (level === 'debug') return;
    this.#warnedAt = now;
    this.#message = error.message;
  }
}

const REFUSED_VERSION =
  'the router speaks another version of the protocol: use connector and router of the same major version';
