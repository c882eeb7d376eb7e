interface BackoffOptions {
  /** Ceiling of the first pause, in ms. */
  readonly minMs: number;
  /** Ceiling of every pause, in ms. */
  readonly maxMs: number;
  /** Evenly distributed in [0, 1). */
  readonly random: () => number;
}

/** Those that a router sent away come back within this many times the first pause's ceiling: 10 s by default. */
const SOON_FACTOR = 20;

/**
 * How long to wait before the next attempt: exponential with full jitter, so that thousands of connectors that lost their
 * router at the same moment do not come back at the same moment.
 */
export class Backoff {
  readonly #options: BackoffOptions;
  #failures = 0;

  constructor(options: BackoffOptions) {
    this.#options = options;
  }

  /** The pause after one more failure: anything up to a ceiling that doubles each time. */
  next(): number {
    const { minMs, maxMs, random } = this.#options;
    // Beyond 2^30 the ceiling has long been reached.
    const ceiling = Math.min(maxMs, minMs * 2 ** Math.min(this.#failures++, 30));
    return random() * ceiling;
  }

  /** The slowest pace: the upper half of the longest pause. */
  nextSlow(): number {
    const { maxMs, random } = this.#options;
    return maxMs * (0.5 + random() / 2);
  }

  /** A pause after a farewell that asked for it: anything up to 10 s, so that all connectors of one router come back spread. */
  nextSoon(): number {
    const { minMs, maxMs, random } = this.#options;
    return random() * Math.min(maxMs, SOON_FACTOR * minMs);
  }

  /** Begins anew, after a link that lived. */
  reset(): void {
    this.#failures = 0;
  }
}
