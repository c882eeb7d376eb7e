import type { Timer } from './timer.ts';

/** What may be sent at once after a pause, in ms of the rate. */
const BURST_MS = 100;

/** How long a piece takes at the rate, in ms: short, so that all who send get their turn. */
const PIECE_MS = 50;
const LEAST_PIECE_BYTES = 1024;

/** A piece that waits for its turn. */
interface Waiting {
  readonly bytes: number;
  readonly tag: number;
  readonly go: () => void;
}

/**
 * Lets so many bytes a second pass, all flows together. Those that have something to send get as many bytes each, however
 * long their pieces are; one that has just begun is not behind those that have sent for long.
 */
export class Pace {
  readonly bytesPerMs: number;
  readonly #timer: Timer;
  /** When all is sent that was let pass. */
  #until = -Infinity;
  readonly #waiting = new Set<Waiting>();
  /** Tag of the piece that passed last: where a flow begins that has not sent of late (self-clocked fair queueing). */
  #passed = 0;
  #isServing = false;
  /** Ends the wait for the next turn when nobody is left to have it. */
  #deserted = new AbortController();

  constructor(bytesPerSecond: number, timer: Timer) {
    this.bytesPerMs = bytesPerSecond / 1000;
    this.#timer = timer;
  }

  /** How long a piece should be at most, in bytes. */
  get pieceBytes(): number {
    return Math.max(LEAST_PIECE_BYTES, Math.floor(this.bytesPerMs * PIECE_MS));
  }

  /** One more that sends. It needs no closing. */
  open(): Flow {
    return new Flow(this);
  }

  /** @internal The piece of a flow that ends at `tag`. */
  async take(bytes: number, startTag: number, signal: AbortSignal): Promise<number> {
    signal.throwIfAborted();
    const tag = Math.max(startTag, this.#passed) + bytes;
    if (this.#waiting.size === 0 && this.#until <= this.#timer.now()) {
      this.#pass({ bytes, tag });
      return tag;
    }
    await new Promise<void>((resolve, reject) => {
      const giveUp = (): void => {
        this.#waiting.delete(waiting);
        if (this.#waiting.size === 0) this.#deserted.abort();
        reject(signal.reason);
      };
      const go = (): void => {
        signal.removeEventListener('abort', giveUp);
        resolve();
      };
      const waiting: Waiting = { bytes, tag, go };
      signal.addEventListener('abort', giveUp, { once: true });
      this.#waiting.add(waiting);
      if (!this.#isServing) void this.#serve();
    });
    return tag;
  }

  async #serve(): Promise<void> {
    this.#isServing = true;
    while (this.#waiting.size > 0) {
      const ms = this.#until - this.#timer.now();
      if (ms > 0 && !(await this.#sleep(ms))) continue;
      const next = this.#findNext();
      // The last one may have left in the very moment of its turn.
      if (next === undefined) break;
      this.#waiting.delete(next);
      this.#pass(next);
      next.go();
    }
    this.#isServing = false;
  }

  /** @returns false where nobody was left who waited. */
  async #sleep(ms: number): Promise<boolean> {
    this.#deserted = new AbortController();
    try {
      await this.#timer.sleep(ms, this.#deserted.signal);
      return true;
    } catch {
      return false;
    }
  }

  #findNext(): Waiting | undefined {
    let next: Waiting | undefined;
    for (const waiting of this.#waiting) if (next === undefined || waiting.tag < next.tag) next = waiting;
    return next;
  }

  #pass({ bytes, tag }: Pick<Waiting, 'bytes' | 'tag'>): void {
    this.#passed = tag;
    this.#until = Math.max(this.#until, this.#timer.now() - BURST_MS) + bytes / this.bytesPerMs;
  }
}

/** One of those that share a pace: a transfer, or a message. It waits for one piece at a time. */
export class Flow {
  readonly #pace: Pace;
  #tag = 0;

  constructor(pace: Pace) {
    this.#pace = pace;
  }

  /** How long a piece should be at most, in bytes. */
  get pieceBytes(): number {
    return this.#pace.pieceBytes;
  }

  /** Resolves when so many bytes may go. @throws the signal's reason when it aborts first. */
  async take(bytes: number, signal: AbortSignal): Promise<void> {
    this.#tag = await this.#pace.take(bytes, this.#tag, signal);
  }
}
