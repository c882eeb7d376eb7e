/** What took less than this says only that the line is no slower, in ms: most of it went into buffers. */
export const TELLING_MS = 20;

/** How long what was measured counts, in ms: lines change. */
const REMEMBERED_MS = 600_000;

/** Up to which part of its time a sender may have made what it sent for the line, and not the sender, to be the limit. */
const LINE_BOUND = 0.5;

/** What was sent in one body, and how. */
export interface Sent {
  /** Bytes on the line, those of others that went beside it included. */
  readonly bytes: number;
  /** From the first byte to the answer, in ms. */
  readonly ms: number;
  /** How long of that nothing could be sent because it was not made yet, in ms. */
  readonly madeMs: number;
}

/** Shorter bodies say nothing of a line: the way and the work at its ends are most of their time, in bytes. */
export const TELLING_BYTES = 32 * 1024;

/**
 * How many bytes a line carries in a time, as far as that was seen. A reader that is slower than the line counts as one.
 */
export class LineRate {
  readonly #whole: LineRate | undefined;
  #rate = 0;
  #isKnown = false;
  #until = -Infinity;
  /** Bytes that were given to the line in all: what one body says of it has to count those that went beside it. */
  carried = 0;

  /** @param whole a line that this is a part of, or shares most of its way with: what is known of it counts until more is. */
  constructor(whole?: LineRate) {
    this.#whole = whole;
  }

  /** In bytes a millisecond; undefined where nobody knows. */
  known(now: number): number | undefined {
    if (now >= this.#until) return this.#whole?.known(now);
    return this.#isKnown ? this.#rate : undefined;
  }

  /** The line carries this or more, in bytes a millisecond. */
  atLeast(now: number): number {
    return now < this.#until ? this.#rate : (this.#whole?.atLeast(now) ?? 0);
  }

  note({ bytes, ms, madeMs }: Sent, now: number): void {
    if (bytes < TELLING_BYTES) return;
    const rate = bytes / Math.max(ms, 1);
    const earlier = this.atLeast(now);
    if (ms >= TELLING_MS && madeMs <= LINE_BOUND * ms) {
      this.#rate = rate;
      this.#isKnown = true;
    } else if (ms >= TELLING_MS) {
      // The line waited for the sender: it carries more than that, and nobody knows how much, so that it is tried out.
      this.#rate = Math.max(rate, earlier) * 4;
    } else if (rate > earlier) {
      this.#rate = rate;
    } else {
      return;
    }
    this.#until = now + REMEMBERED_MS;
  }

  /** Forgets what was seen: a new link may be another line. */
  forget(): void {
    this.#until = -Infinity;
    this.#isKnown = false;
  }
}

/** Up to which part of its time a passage may have waited for its reader, for it to tell how fast the line is. */
const READER_BOUND = 0.1;

/** One body on its way over a line. What others bring by it meanwhile counts for how fast that is. */
export class Passage {
  readonly #line: LineRate;
  readonly #leastBytes: number;
  readonly #carriedBefore: number;
  readonly #begunAt = performance.now();

  /** @param leastBytes fewer say nothing. */
  constructor(line: LineRate, leastBytes = TELLING_BYTES) {
    this.#line = line;
    this.#leastBytes = leastBytes;
    this.#carriedBefore = line.carried;
  }

  /** So many bytes came. */
  carry(bytes: number): void {
    this.#line.carried += bytes;
  }

  /** All has come. @param waitedMs how long its reader took no more of it, in ms. */
  end(waitedMs = 0): void {
    const now = performance.now();
    const ms = now - this.#begunAt;
    const bytes = this.#line.carried - this.#carriedBefore;
    if (bytes >= this.#leastBytes && waitedMs <= READER_BOUND * ms) this.#line.note({ bytes, ms, madeMs: 0 }, now);
  }
}
