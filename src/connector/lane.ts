interface LaneOptions<T> {
  readonly maxConcurrent: number;
  readonly maxQueued: number;
  /** Does one job. Never rejects. */
  readonly run: (job: T) => Promise<void>;
  /** Called whenever a job has ended or left the queue. */
  readonly onSettled: () => void;
}

/** Does so many jobs at once; the others wait in order of arrival, up to a bound. */
export class Lane<T> {
  readonly #options: LaneOptions<T>;
  readonly #queue: T[] = [];
  #running = 0;

  constructor(options: LaneOptions<T>) {
    this.#options = options;
  }

  /** Whether another job would be refused. */
  get isFull(): boolean {
    return this.#running >= this.#options.maxConcurrent && this.#queue.length >= this.#options.maxQueued;
  }

  /** Whether nothing waits or runs. */
  get isIdle(): boolean {
    return this.#running === 0 && this.#queue.length === 0;
  }

  /** Takes a job. The bound is the caller's to keep, see {@link isFull}. */
  add(job: T): void {
    if (this.#running < this.#options.maxConcurrent) this.#start(job);
    else this.#queue.push(job);
  }

  /** Takes a waiting job out. @returns false when it runs already or is not here. */
  remove(job: T): boolean {
    const index = this.#queue.indexOf(job);
    if (index < 0) return false;
    this.#queue.splice(index, 1);
    this.#options.onSettled();
    return true;
  }

  #start(job: T): void {
    this.#running++;
    void this.#options.run(job).finally(() => {
      this.#running--;
      const next = this.#queue.shift();
      if (next !== undefined) this.#start(next);
      this.#options.onSettled();
    });
  }
}
