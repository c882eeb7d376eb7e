import type { IncomingMessage } from 'node:http';
import { networkOf } from '../http/address-range.ts';
import { RecentMap } from '../recent-map.ts';
import { LineRate } from '../http/line-rate.ts';

/** How many lines are remembered at least. */
const REMEMBERED_LINES = 10_000;

/** How fast the lines to apps are, by their networks. */
export class AppLines {
  readonly #addressOf: (request: IncomingMessage) => string;
  readonly #lines = new RecentMap<string, LineRate>(REMEMBERED_LINES);

  constructor(addressOf: (request: IncomingMessage) => string) {
    this.#addressOf = addressOf;
  }

  /** The line to whoever made a request. */
  of(request: IncomingMessage): LineRate {
    const network = networkOf(this.#addressOf(request));
    const known = this.#lines.get(network);
    if (known !== undefined) return known;
    const line = new LineRate();
    this.#lines.set(network, line);
    return line;
  }
}
