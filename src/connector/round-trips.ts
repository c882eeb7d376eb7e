import type { Clock } from './clock.ts';
import type { Link } from './link/link.ts';

/** How often they are measured at most, in ms: a router takes more than 50 pings a second for a flood. */
const LEAST_INTERVAL_MS = 100;

/** Measures round trips over the link, for all who ask at once. */
export class RoundTrips {
  readonly #findLink: () => Link | undefined;
  readonly #clock: Clock;
  #last: { readonly link: Link; readonly at: number; readonly ms: Promise<number> } | undefined;
  #isMeasuring = false;

  constructor(findLink: () => Link | undefined, clock: Clock) {
    this.#findLink = findLink;
    this.#clock = clock;
  }

  /** How long a byte to the router and its answer take at least, in ms; undefined where nobody knows yet. */
  get shortestMs(): number | undefined {
    return this.#findLink()?.roundTripMs;
  }

  /** How long that takes now, with all that is on its way, in ms; undefined without a link. Never resolves, or rejects, where no answer comes. */
  measure(): Promise<number> | undefined {
    const link = this.#findLink();
    if (link === undefined) return undefined;
    const now = this.#clock.now();
    const last = this.#last;
    if (last?.link === link && (this.#isMeasuring || now - last.at < LEAST_INTERVAL_MS)) return last.ms;
    this.#isMeasuring = true;
    const ms = link.measureRoundTrip();
    this.#last = { link, at: now, ms };
    const end = (): void => {
      if (this.#last?.ms === ms) this.#isMeasuring = false;
    };
    void ms.then(end, end);
    return ms;
  }
}
