import { RelayError } from '../../protocol/errors.ts';
import type { Clock } from '../clock.ts';

/** How long to try on while nothing gets through, in ms: longer than a router waits for it by default, which then says so. */
const PATIENCE_MS = 60_000;

/** Ceilings of the first pause between tries, which doubles, and of all, in ms. */
const FIRST_PAUSE_MS = 250;
const LONGEST_PAUSE_MS = 5000;

/** Says how long to go on with sending what does not get through. */
export class Patience {
  readonly #clock: Clock;
  #failures = 0;
  #since = Infinity;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Waits before the next try. @throws {RelayError} the error itself, where another try is no use or patience is at its end. */
  async wait(error: unknown, signal: AbortSignal): Promise<void> {
    const now = this.#clock.now();
    if (!mayGetThrough(error) || now - this.#since >= PATIENCE_MS) throw error;
    this.#since = Math.min(this.#since, now);
    const ceilingMs = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** this.#failures++);
    await this.#clock.sleep(this.#clock.random() * ceilingMs, signal);
  }

  /** Something got through. */
  renew(): void {
    this.#failures = 0;
    this.#since = Infinity;
  }
}

/** Whether bytes that broke off may get through when they are sent again; what arrived of them counts. */
export const mayGetThrough = (error: unknown): boolean =>
  error instanceof RelayError && error.code === 'transfer_interrupted' && error.retryable;
