import { RelayError } from '../protocol/errors.ts';

/** How many bytes of one kind the router may hold in memory at once, all requests together. */
export class BufferBudget {
  readonly #total: number;
  readonly #exhausted: string;
  readonly #onRefused: () => void;
  #used = 0;

  /**
   * @param exhausted what whoever finds no room is told.
   * @param onRefused told when somebody finds none.
   */
  constructor(
    total: number,
    {
      exhausted = 'the router holds as many buffered datasets as it may; try again, or use request-stream',
      onRefused = () => {},
    }: { exhausted?: string; onRefused?: () => void } = {},
  ) {
    this.#total = total;
    this.#exhausted = exhausted;
    this.#onRefused = onRefused;
  }

  get used(): number {
    return this.#used;
  }

  /** How much more there is room for. */
  get left(): number {
    return this.#total - this.#used;
  }

  /** Takes room for `bytes`. @throws {RelayError} overloaded when there is none. */
  reserve(bytes: number): void {
    if (this.#used + bytes > this.#total) {
      this.#onRefused();
      throw new RelayError('overloaded', this.#exhausted, { details: { retry_after: 5 } });
    }
    this.#used += bytes;
  }

  release(bytes: number): void {
    this.#used -= bytes;
  }
}
