import { FAR_MS } from '../http/width.ts';

/** How often a small question is asked: the first may have to wait for a connection, and any for the bytes that come meanwhile. */
const QUESTIONS = 3;

/** How far the router is, as the quickest of its answers tells: whatever else it had to do comes on top. */
export class RoundTrip {
  readonly #measured: (() => number | undefined) | undefined;
  #leastMs = Number.POSITIVE_INFINITY;
  #answers = 0;

  /** @param measured what is known of it by other means, such as the opening of a connection. */
  constructor(measured: (() => number | undefined) | undefined) {
    this.#measured = measured;
  }

  /** The most that it can be, in ms. */
  get ms(): number {
    return this.#measured?.() ?? this.#leastMs;
  }

  /** Notes how long an answer took. */
  note(ms: number): void {
    this.#answers += 1;
    this.#leastMs = Math.min(this.#leastMs, ms);
  }

  /**
   * Makes sure, by small questions where nothing else tells.
   * @param ask asks one and resolves when it is answered, which is noted.
   * @returns the time in ms where the router is far, undefined where it is near.
   */
  async whereFar(ask: () => Promise<unknown>): Promise<number | undefined> {
    const enough = this.#answers + QUESTIONS;
    while (this.ms >= FAR_MS && this.#measured?.() === undefined && this.#answers < enough) await ask();
    return this.ms >= FAR_MS && this.ms < Number.POSITIVE_INFINITY ? this.ms : undefined;
  }
}
