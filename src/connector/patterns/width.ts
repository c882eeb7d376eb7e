/** How many chunks are under way at once at first, and at least and at most. */
const FIRST = 8;
const LEAST = 2;

/** By how much more has to arrive for a wider sending to be kept, and how much less lets a narrower one be kept. */
const WORTH_WIDENING = 1.1;
const GOOD_ENOUGH = 0.95;

/** After how many measurements at one width a narrower one is tried. */
const HOLD = 8;

/**
 * How many chunks to send side by side, found by trying: wider while that brings more, narrower while it brings as much. A
 * line whose rate is its limit ends with few, one whose delay or losses are with many.
 */
export class Width {
  readonly #most: number;
  readonly #chunkBytes: number;
  readonly #roundTripMs: number;
  #value: number;
  #previous: number;
  #state: 'warm' | 'base' | 'up' | 'hold' | 'down' = 'warm';
  #best = 0;
  #held = 0;
  #bytes = 0;
  #since: number;

  constructor(options: { most: number; chunkBytes: number; roundTripMs: number; now: number }) {
    this.#most = options.most;
    this.#chunkBytes = options.chunkBytes;
    this.#roundTripMs = options.roundTripMs;
    this.#value = Math.min(FIRST, options.most);
    this.#previous = this.#value;
    this.#since = options.now;
  }

  get value(): number {
    return this.#value;
  }

  /** Bytes were taken in by the router. */
  note(bytes: number, now: number): void {
    this.#bytes += bytes;
    const elapsedMs = now - this.#since;
    // Long enough that every connection has its share in it.
    if (this.#bytes < 1.5 * this.#value * this.#chunkBytes || elapsedMs < 4 * this.#roundTripMs) return;
    const rate = this.#bytes / elapsedMs;
    this.#bytes = 0;
    this.#since = now;
    this.#decide(rate);
  }

  #decide(rate: number): void {
    switch (this.#state) {
      case 'warm':
        // Connections that have just begun say little.
        this.#state = 'base';
        break;
      case 'base':
        this.#best = rate;
        this.#widen();
        break;
      case 'up':
        if (rate < this.#best * WORTH_WIDENING) this.#settle(this.#previous);
        else {
          this.#best = rate;
          this.#widen();
        }
        break;
      case 'hold':
        if (++this.#held < HOLD || this.#value <= LEAST) break;
        this.#best = rate;
        this.#state = 'down';
        this.#change(Math.max(LEAST, Math.floor(this.#value / 2)));
        break;
      case 'down':
        this.#settle(rate < this.#best * GOOD_ENOUGH ? this.#previous : this.#value);
        break;
    }
  }

  #widen(): void {
    if (this.#value >= this.#most) this.#settle(this.#value);
    else {
      this.#state = 'up';
      this.#change(Math.min(this.#most, Math.ceil(this.#value * 1.5)));
    }
  }

  #settle(value: number): void {
    this.#state = 'hold';
    this.#held = 0;
    this.#value = value;
  }

  #change(value: number): void {
    this.#previous = this.#value;
    this.#value = value;
  }
}
