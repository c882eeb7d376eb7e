import { setTimeout as delay } from 'node:timers/promises';
import { networkOf } from '../../http/address-range.ts';
import type { Logger } from '../../observability/logger.ts';
import type { TokenFault } from './token.ts';

/** Why a request was refused for its credential. */
export type AuthFailure = TokenFault | 'missing' | 'forbidden';

/** How many failures an address has free; one more comes back every so often. */
const FREE_FAILURES = 10;
const REGAIN_MS = 6000;

/** Beyond them, how much longer each answer takes than the one before, and the most. */
const DELAY_STEP_MS = 100;
const MAX_DELAY_MS = 1000;

/** How many answers may be held back at once: those beyond are given at once, and cost nothing. */
const MAX_DELAYED = 200;

/** How many addresses are remembered, and how often the log names one. */
const MAX_ADDRESSES = 10_000;
const LOG_EVERY_MS = 10_000;

interface Offender {
  /** Failures that are not forgiven yet, as of `at`. */
  count: number;
  at: number;
  loggedAt: number;
  unlogged: number;
}

/** Counts what is refused, logs it with the address it came from, and makes an address that presents bad credentials wait. */
export class AuthFailures {
  readonly #logger: Logger;
  readonly #count: (reason: AuthFailure) => void;
  readonly #offenders = new Map<string, Offender>();
  readonly #closing = new AbortController();
  #delayed = 0;

  /** @param count told of each, for the metrics. */
  constructor(logger: Logger, count: (reason: AuthFailure) => void) {
    this.#logger = logger;
    this.#count = count;
  }

  /** Counts a request that came without a credential, as browsers' first ones do; no address is slowed down for that. */
  noteMissing(): void {
    this.#count('missing');
  }

  /** Notes what a good credential does not cover; guessing is not what that is, so nobody waits. */
  noteForbidden(address: string, facts: Readonly<Record<string, unknown>>): void {
    this.#count('forbidden');
    this.#logger.warn({ remote: address, reason: 'forbidden', ...facts }, 'a request was refused');
  }

  /** Notes a bad credential. Resolves when it may be answered. */
  async note(address: string, reason: TokenFault): Promise<void> {
    this.#count(reason);
    const offender = this.#touch(networkOf(address));
    this.#log(offender, address, reason);
    const beyond = offender.count - FREE_FAILURES;
    if (beyond <= 0 || this.#delayed >= MAX_DELAYED) return;
    this.#delayed++;
    try {
      await delay(Math.min(beyond * DELAY_STEP_MS, MAX_DELAY_MS), undefined, { signal: this.#closing.signal });
    } catch {
      // The router closes, and nobody needs to wait any more.
    } finally {
      this.#delayed--;
    }
  }

  close(): void {
    this.#closing.abort();
  }

  #touch(network: string): Offender {
    const now = performance.now();
    const known = this.#offenders.get(network);
    const offender = known ?? { count: 0, at: now, loggedAt: Number.NEGATIVE_INFINITY, unlogged: 0 };
    offender.count = Math.max(0, offender.count - (now - offender.at) / REGAIN_MS) + 1;
    offender.at = now;
    // Put last, so that the first of the map is the one that was quiet for longest.
    this.#offenders.delete(network);
    this.#offenders.set(network, offender);
    if (this.#offenders.size > MAX_ADDRESSES) this.#offenders.delete(this.#offenders.keys().next().value as string);
    return offender;
  }

  #log(offender: Offender, address: string, reason: TokenFault): void {
    const now = performance.now();
    if (offender.count > FREE_FAILURES && now - offender.loggedAt < LOG_EVERY_MS) {
      offender.unlogged++;
      return;
    }
    const also = offender.unlogged > 0 ? { and_before: offender.unlogged } : {};
    this.#logger.warn({ remote: address, reason, ...also }, 'a credential was refused');
    offender.loggedAt = now;
    offender.unlogged = 0;
  }
}
