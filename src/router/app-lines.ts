import type { IncomingMessage } from 'node:http';
import { networkOf } from '../http/address-range.ts';
import { LineRate } from '../http/line-rate.ts';

/** How many lines are remembered; those that were not used for longest are forgotten. */
const MOST_LINES = 10_000;

/** How fast the lines to apps are, by their networks. */
export class AppLines {
  readonly #addressOf: (request: IncomingMessage) => string;
  readonly #lines = new Map<string, LineRate>();

  constructor(addressOf: (request: IncomingMessage) => string) {
    this.#addressOf = addressOf;
  }

  /** The line to whoever made a request. */
  of(request: IncomingMessage): LineRate {
    const network = networkOf(this.#addressOf(request));
    const line = this.#lines.get(network) ?? new LineRate();
    this.#lines.delete(network);
    this.#lines.set(network, line);
    if (this.#lines.size > MOST_LINES) this.#lines.delete(this.#lines.keys().next().value as string);
    return line;
  }
}
