import { RecentMap } from '../recent-map.ts';

/** How often the log speaks of one thing, in ms, and of how many things it is remembered at least when it did. */
const LOG_EVERY_MS = 10_000;
const REMEMBERED_THINGS = 5000;

/** Keeps whoever causes log lines from filling the log with them. */
export class LogThrottle {
  readonly #logged = new RecentMap<string, { at: number; unlogged: number }>(REMEMBERED_THINGS);

  /**
   * Asks for a line about `key`: the log has the first, and then one in ten seconds.
   * @returns what the line is to carry, with how many were left out before it; undefined where this one is left out.
   */
  take(key: string): { readonly and_before?: number } | undefined {
    const now = performance.now();
    const last = this.#logged.get(key);
    if (last !== undefined && now - last.at < LOG_EVERY_MS) {
      last.unlogged++;
      return undefined;
    }
    this.#logged.set(key, { at: now, unlogged: 0 });
    return last === undefined || last.unlogged === 0 ? {} : { and_before: last.unlogged };
  }
}
