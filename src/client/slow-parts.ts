/** A part on its way. */
export interface PartOnItsWay {
  /** Since when it has been asked for, on the clock of `performance.now()`. */
  readonly begunAt: number;
  /** How many bytes have come since then. */
  readonly bytes: number;
  /** Lets go of it, so that it is asked for again from where it is. */
  askAgain(): void;
}

/** A part that comes so many times more slowly than others do is asked for again. */
const TOO_SLOW = 4;
/** How long it is given, in round trips. */
const FAIR_ROUND_TRIPS = 3;
/** How much the last part counts in what parts are expected to come with. */
const SHARE = 0.2;

/**
 * Has parts asked for again that come far too slowly while others wait for them. Connections differ by a factor of thirty: one
 * that begins while others fill the queue of the line stays slow for seconds, and those that are free have shown that they are
 * not.
 */
export class SlowParts {
  readonly #underWay: Iterable<PartOnItsWay>;
  /** How fast parts come, in bytes a ms; 0 before the first. */
  #rate = 0;
  #clock: ReturnType<typeof setInterval> | undefined;

  constructor(underWay: Iterable<PartOnItsWay>) {
    this.#underWay = underWay;
  }

  /** A part has come to its end. */
  note(part: PartOnItsWay): void {
    this.#rate = this.#rate === 0 ? rateOf(part) : this.#rate + SHARE * (rateOf(part) - this.#rate);
  }

  /** Looks after them once in a round trip, in ms, from now on, until `stop`. */
  watch(roundTripMs: number): void {
    this.#clock ??= setInterval(() => this.#look(roundTripMs), roundTripMs);
  }

  stop(): void {
    clearInterval(this.#clock);
    this.#clock = undefined;
  }

  #look(roundTripMs: number): void {
    const fair = performance.now() - FAIR_ROUND_TRIPS * roundTripMs;
    for (const part of this.#underWay) {
      if (part.begunAt < fair && rateOf(part) * TOO_SLOW < this.#rate) part.askAgain();
    }
  }
}

const rateOf = ({ begunAt, bytes }: PartOnItsWay): number => bytes / Math.max(1, performance.now() - begunAt);
