/** Does the jobs of many parts side by side, as many at once as a limit says that may change meanwhile. */
export class PartLanes {
  readonly #limit: () => number;
  readonly #lanes = new Set<Promise<void>>();
  #hasMore = false;
  #woken = Promise.withResolvers<void>();

  constructor(limit: () => number) {
    this.#limit = limit;
  }

  /** The limit may have grown. */
  wake(): void {
    if (this.#hasMore && this.#lanes.size < this.#limit()) this.#woken.resolve();
  }

  /**
   * Does the job of each part, numbered from 0. One that fails ends the others, by `stop`. Nothing is under way afterwards.
   * @throws what the job of a part threw first.
   */
  async run(count: number, stop: AbortController, job: (index: number) => Promise<void>): Promise<void> {
    try {
      for (let next = 0; next < count || this.#lanes.size > 0; ) {
        while (next < count && this.#lanes.size < this.#limit()) this.#start(job(next++));
        this.#hasMore = next < count;
        this.#woken = Promise.withResolvers<void>();
        await Promise.race([...this.#lanes, this.#woken.promise]);
      }
    } catch (error) {
      stop.abort(error);
      await Promise.allSettled(this.#lanes);
      throw error;
    }
  }

  #start(work: Promise<void>): void {
    const lane: Promise<void> = work.finally(() => this.#lanes.delete(lane));
    // A failure surfaces in the race; one that comes later must not count as unhandled.
    lane.catch(() => {});
    this.#lanes.add(lane);
  }
}
