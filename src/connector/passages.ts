import type { Logger } from '../observability/logger.ts';
import type { Clock } from './clock.ts';
import { explainObstacle, type Obstacle } from './http/obstacle.ts';

const KIB = 1024;

/** Lengths of bodies, in bytes: the first passes most proxies fast enough, the last passes all at their defaults. */
const STEPS_BYTES = [8192 * KIB, 512 * KIB] as const;

/** Bodies up to this length are not watched: there is no shorter way to send them. */
export const HOLDABLE_BYTES = STEPS_BYTES[1];

/** How long what was learnt counts, in ms: somebody may have changed the setting meanwhile. */
const REMEMBERED_MS = 3_600_000;

interface PassagesOptions {
  readonly clock: Clock;
  readonly logger: Logger;
}

/** How long bodies may be on the way to each origin, as far as it was found out: at first there is no limit. */
export class Passages {
  readonly #options: PassagesOptions;
  readonly #known = new Map<string, { readonly maxBytes: number; readonly until: number }>();
  readonly #unmeasured = new Map<string, number>();
  readonly #logged = new Set<string>();

  constructor(options: PassagesOptions) {
    this.#options = options;
  }

  /** Most bytes to send in one body; Infinity where nothing is known against it. */
  limit({ origin }: URL): number {
    const known = this.#known.get(origin);
    return known !== undefined && this.#options.clock.now() < known.until ? known.maxBytes : Infinity;
  }

  /**
   * Learns that a body did not get through. The log says so once for each obstacle.
   * @param length of that body, in bytes.
   * @returns the length to try next; undefined when there is no smaller one.
   */
  narrow(url: URL, length: number, obstacle: Obstacle): number | undefined {
    const step = STEPS_BYTES.find((bytes) => bytes < length);
    if (step === undefined) return undefined;
    // Another transfer may have learnt more meanwhile.
    const maxBytes = Math.min(step, this.limit(url));
    const { origin, host } = url;
    const { clock, logger } = this.#options;
    this.#known.set(origin, { maxBytes, until: clock.now() + REMEMBERED_MS });
    const key = `${origin} ${obstacle}`;
    const level = this.#logged.has(key) ? 'debug' : 'warn';
    this.#logged.add(key);
    const reason = explainObstacle(obstacle);
    logger[level]({ host, obstacle, reason, max_bytes: maxBytes }, 'datasets go in smaller pieces, which is slower');
    return maxBytes;
  }

  /** Whether bodies whose length is not known beforehand get through: coded ones are such. */
  takesUnmeasured({ origin }: URL): boolean {
    return !((this.#unmeasured.get(origin) ?? 0) > this.#options.clock.now());
  }

  /** Learns that such a body did not get through. */
  refuseUnmeasured({ origin, host }: URL): void {
    const { clock, logger } = this.#options;
    if (this.takesUnmeasured(new URL(origin)))
      logger.info({ host }, 'a proxy in between wants the length of every body (HTTP 411), so none is compressed');
    this.#unmeasured.set(origin, clock.now() + REMEMBERED_MS);
  }

  /** Forgets what was learnt: a new link may be another way, or behind other settings. */
  forget(): void {
    this.#known.clear();
    this.#unmeasured.clear();
  }
}
