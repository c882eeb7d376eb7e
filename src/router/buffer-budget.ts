import { RelayError } from '../protocol/errors.ts';

/** How many bytes of datasets the router may hold in memory at once, all requests together. */
export class BufferBudget {
  readonly #total: number;
  #used = 0;

  constructor(total: number) {
    this.#total = total;
  }

  get used(): number {
    return this.#used;
  }

  /** Takes room for `bytes`. @throws {RelayError} overloaded when there is none. */
  reserve(bytes: number): void {
    if (this.#used + bytes > this.#total) {
      throw new RelayError(
        'overloaded',
        'the router holds as many buffered datasets as it may; try again, or use request-stream',
        {
          details: { retry_after: 5 },
        },
      );
    }
    this.#used += bytes;
  }

  release(bytes: number): void {
    this.#used -= bytes;
  }
}
