import { RelayError } from '../../protocol/errors.ts';
import type { Mac } from '../../protocol/mac.ts';
import { RecentMap } from '../../recent-map.ts';
import type { Refusals } from './refusals.ts';

/** How many links a connector may open in a row, and how often one more. Its own backoff asks for far fewer. */
const FREE_ATTEMPTS = 200;
const REGAIN_MS = 500;

/** How many connectors are remembered at least. */
const REMEMBERED_CONNECTORS = 20_000;

/** Slows down connectors that open one link after the other: each costs a handshake, and ends the one before. */
export class LinkLimits {
  readonly #refusals: Refusals;
  readonly #attempts = new RecentMap<Mac, { count: number; at: number }>(REMEMBERED_CONNECTORS);

  constructor(refusals: Refusals) {
    this.#refusals = refusals;
  }

  /**
   * Counts an attempt to open a link.
   * @param remote the address that it came from, for the log.
   * @throws {RelayError} too_many_requests when there were too many of late.
   */
  admit(mac: Mac, remote: string): void {
    const now = performance.now();
    const known = this.#attempts.get(mac);
    const count = known === undefined ? 0 : Math.max(0, known.count - (now - known.at) / REGAIN_MS);
    const refused = count + 1 > FREE_ATTEMPTS;
    this.#attempts.set(mac, { count: refused ? count : count + 1, at: now });
    if (!refused) return;
    this.#refusals.note('links_per_connector', { mac, remote });
    throw new RelayError('too_many_requests', `the connector ${mac} opens its link too often`, {
      details: { retry_after: 10 },
    });
  }
}
