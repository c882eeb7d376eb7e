import { setTimeout as delay } from 'node:timers/promises';
import { networkOf } from '../../http/address-range.ts';
import { LogThrottle } from '../../observability/log-throttle.ts';
import type { Logger } from '../../observability/logger.ts';
import { RelayError } from '../../protocol/errors.ts';
import { RecentMap } from '../../recent-map.ts';
import type { TokenFault, Verdict } from './token.ts';

/** Why a request was refused for its credential; `throttled` before anybody looked at it. */
export type AuthFailure = TokenFault | 'missing' | 'forbidden' | 'throttled';

/** How many failures an address has free; one more comes back every so often. */
const FREE_FAILURES = 10;
const REGAIN_MS = 6000;

/** Beyond them, how much longer each answer takes than the one before, and the most. */
const DELAY_STEP_MS = 100;
const MAX_DELAY_MS = 1000;

/** How many credentials are being checked or their answers held back at once, for an address and for all: no others are checked. */
const MAX_HELD_PER_ADDRESS = 20;
const MAX_HELD = 2000;
const RETRY_AFTER_S = 1;

/** How many addresses are remembered at least. */
const REMEMBERED_ADDRESSES = 10_000;

interface Offender {
  /** Failures that are not forgiven yet, as of `at`. */
  count: number;
  at: number;
  /** Credentials that are being checked, or whose answer is held back. */
  held: number;
}

/** Counts what is refused, logs it with the address it came from, and makes an address that presents bad credentials wait. */
export class AuthFailures {
  readonly #logger: Logger;
  readonly #count: (reason: AuthFailure) => void;
  readonly #throttle = new LogThrottle();
  readonly #offenders = new RecentMap<string, Offender>(REMEMBERED_ADDRESSES);
  readonly #closing = new AbortController();
  #held = 0;

  /** @param count told of each, for the metrics. */
  constructor(logger: Logger, count: (reason: AuthFailure) => void) {
    this.#logger = logger;
    this.#count = count;
  }

  /** Counts a request that came without a credential, as browsers' first ones do; no address is slowed down for that. */
  noteMissing(): void {
    this.#count('missing');
  }

  /** Notes what is not allowed to whoever asks; guessing is not what that is, so nobody waits. */
  noteForbidden(address: string, facts: { readonly token_id?: string | undefined } & Record<string, unknown>): void {
    this.#count('forbidden');
    const left = this.#throttle.take(`forbidden ${facts.token_id ?? networkOf(address)}`);
    if (left !== undefined) {
      this.#logger.warn({ remote: address, reason: 'forbidden', ...facts, ...left }, 'a request was refused');
    }
  }

  /**
   * Has a credential checked that may be a guess. Resolves with the verdict once it may be answered.
   * @throws {RelayError} too_many_requests, without a check, where the address presents more bad ones than it can wait for.
   */
  async vet(address: string, check: () => Verdict | Promise<Verdict>): Promise<Verdict> {
    const network = networkOf(address);
    const known = this.#offenders.get(network);
    // Held before the check: of those that come at once all would be checked otherwise.
    let held = known !== undefined && failuresOf(known) + 1 > FREE_FAILURES ? this.#hold(known, address) : undefined;
    try {
      const verdict = await check();
      if (verdict.ok) return verdict;
      const offender = this.#touch(network);
      this.#note(address, verdict.fault);
      const beyond = offender.count - FREE_FAILURES;
      if (beyond <= 0) return verdict;
      held ??= this.#hold(offender, address);
      // Nobody needs to wait any more when the router closes.
      await delay(Math.min(beyond * DELAY_STEP_MS, MAX_DELAY_MS), undefined, { signal: this.#closing.signal }).catch(
        () => {},
      );
      return verdict;
    } finally {
      if (held !== undefined) {
        held.held--;
        this.#held--;
      }
    }
  }

  close(): void {
    this.#closing.abort();
  }

  #hold(offender: Offender, address: string): Offender {
    if (offender.held >= MAX_HELD_PER_ADDRESS || this.#held >= MAX_HELD) {
      this.#note(address, 'throttled');
      throw new RelayError(
        'too_many_requests',
        'this address presented many bad credentials, so this one is not looked at yet',
        { details: { retry_after: RETRY_AFTER_S } },
      );
    }
    offender.held++;
    this.#held++;
    return offender;
  }

  #touch(network: string): Offender {
    const offender = this.#offenders.get(network) ?? { count: 0, at: 0, held: 0 };
    offender.count = failuresOf(offender) + 1;
    offender.at = performance.now();
    this.#offenders.set(network, offender);
    return offender;
  }

  #note(address: string, reason: AuthFailure): void {
    this.#count(reason);
    const left = this.#throttle.take(`credential ${networkOf(address)}`);
    if (left !== undefined) this.#logger.warn({ remote: address, reason, ...left }, 'a credential was refused');
  }
}

const failuresOf = ({ count, at }: Offender): number => Math.max(0, count - (performance.now() - at) / REGAIN_MS);
