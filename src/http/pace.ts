import type { Clock } from '../clock.ts';

/** What may be sent at once after a pause, in ms of the rate. */
const BURST_MS = 100;

/** How long a piece takes at the rate, in ms: short, so that all who send get their turn. */
const PIECE_MS = 50;
const LEAST_PIECE_BYTES = 1024;

/** Lets so many bytes a second pass, whoever sends them, in the order in which they come. */
export class Pace {
  readonly #bytesPerMs: number;
  readonly #clock: Clock;
  /** When all is sent that was let pass. */
  #until = -Infinity;

  constructor(bytesPerSecond: number, clock: Clock) {
    this.#bytesPerMs = bytesPerSecond / 1000;
    this.#clock = clock;
  }

  /** How long a piece should be at most, in bytes. */
  get pieceBytes(): number {
    return Math.max(LEAST_PIECE_BYTES, Math.floor(this.#bytesPerMs * PIECE_MS));
  }

  /** Resolves when so many bytes may go. @throws the signal's reason when it aborts first. */
  async take(bytes: number, signal: AbortSignal): Promise<void> {
    const now = this.#clock.now();
    const from = Math.max(this.#until, now - BURST_MS);
    this.#until = from + bytes / this.#bytesPerMs;
    if (from > now) await this.#clock.sleep(from - now, signal);
  }
}
