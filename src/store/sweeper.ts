import type { Logger } from '../observability/logger.ts';
import type { ObjectIndex } from './object-index.ts';
import type { ObjectStore } from './object-store.ts';

const HOUR_MS = 3_600_000;

export interface SweeperOptions {
  readonly store: ObjectStore;
  readonly index: ObjectIndex;
  /** How long an object stays after its last URL or read; 24 h by default. */
  readonly keepMs?: number;
  /** Between two sweeps; 10 min by default. */
  readonly intervalMs?: number;
  /** How long an unfinished upload stays that can be gone on with, or that the index does not know; 24 h by default. */
  readonly uploadMaxAgeMs?: number;
  /** Whether an upload of this key is in use by a request. */
  readonly isActive: (key: string) => boolean;
  readonly logger: Logger;
  readonly now?: () => Date;
}

/** What one sweep did. */
export interface SweepResult {
  /** Objects that are gone. */
  readonly removed: number;
  /** Uploads that were given up. */
  readonly aborted: number;
}

/**
 * Keeps objects and unfinished uploads from piling up. It goes by the index and by what the store lists, and so takes up
 * where a former process ended. An object with a live URL stays.
 */
export class Sweeper {
  readonly #options: SweeperOptions;
  readonly #keepMs: number;
  readonly #uploadMaxAgeMs: number;
  /** What was begun before belongs to a process that is gone. */
  readonly #startedAt: Date;
  #timer: NodeJS.Timeout | undefined;
  #sweep: Promise<SweepResult> | undefined;
  #closed = false;

  constructor(options: SweeperOptions) {
    this.#options = options;
    this.#keepMs = options.keepMs ?? 24 * HOUR_MS;
    this.#uploadMaxAgeMs = options.uploadMaxAgeMs ?? 24 * HOUR_MS;
    this.#startedAt = this.#now();
  }

  /** Sweeps now, and then at every interval. A sweep that fails is logged, and the next one tries again. */
  start(): void {
    if (this.#timer !== undefined || this.#closed) return;
    this.#timer = setInterval(() => void this.#sweepLogged(), this.#options.intervalMs ?? HOUR_MS / 6);
    this.#timer.unref();
    void this.#sweepLogged();
  }

  /**
   * Sweeps once; joins a sweep that is under way.
   * @throws {RelayError} store_unavailable when the store cannot be listed.
   */
  sweepOnce(): Promise<SweepResult> {
    this.#sweep ??= this.#run().finally(() => {
      this.#sweep = undefined;
    });
    return this.#sweep;
  }

  /** Ends the sweeping, a sweep under way after the object that it is at. */
  async close(): Promise<void> {
    this.#closed = true;
    clearInterval(this.#timer);
    // Whoever began the sweep has its error.
    await this.#sweep?.catch(() => undefined);
  }

  async #sweepLogged(): Promise<void> {
    try {
      const result = await this.sweepOnce();
      if (result.removed > 0 || result.aborted > 0) this.#options.logger.info(result, 'swept the store');
    } catch (error) {
      this.#options.logger.warn({ err: error }, 'the store could not be swept, trying again later');
    }
  }

  async #run(): Promise<SweepResult> {
    const aborted = (await this.#abortPending()) + (await this.#abortListed());
    const removed = (await this.#removeUnused()) + (await this.#removeUnknown());
    return { removed, aborted };
  }

  /** Uploads that this router's index knows. What a former process left goes on only where that is known of it. */
  async #abortPending(): Promise<number> {
    const { store, index, isActive } = this.#options;
    let count = 0;
    for (const { key, uploadId, startedAt, isResumable } of index.listPending()) {
      const isOld = this.#isOlder(startedAt, this.#uploadMaxAgeMs);
      const isLeft = isOld || (!isResumable && startedAt < this.#startedAt);
      if (this.#closed || !isLeft || isActive(key)) continue;
      const isDone = await this.#attempt(key, async () => {
        if (uploadId !== null) await store.abortUpload(key, uploadId);
        // What came in one piece may stand there, and nobody was told.
        if (index.get(key) === undefined) await store.remove(key);
        index.endUpload(key);
      });
      if (isDone) count += 1;
    }
    return count;
  }

  /** Uploads that only the store knows, because the index was lost. By age alone: they might be those of another router. */
  async #abortListed(): Promise<number> {
    const { store, index, isActive } = this.#options;
    const known = new Set(index.listPending().map(({ key }) => key));
    let count = 0;
    for await (const { key, uploadId, startedAt } of store.listUploads()) {
      if (this.#closed) break;
      if (known.has(key) || isActive(key) || !this.#isOlder(startedAt, this.#uploadMaxAgeMs)) continue;
      if (await this.#attempt(key, () => store.abortUpload(key, uploadId))) count += 1;
    }
    return count;
  }

  async #removeUnused(): Promise<number> {
    const { store, index, isActive } = this.#options;
    let count = 0;
    const since = new Date(this.#now().getTime() - this.#keepMs);
    for (const { key } of index.listUnused(since, this.#now())) {
      // A URL may have been handed out while an object before it was being removed.
      const isUsed = index.isLive(key, this.#now()) || (index.get(key)?.lastUsedAt ?? since) > since;
      if (this.#closed || isUsed || isActive(key)) continue;
      // First out of the index, so that nobody is given a URL of what is about to go.
      index.remove(key);
      if (await this.#attempt(key, () => store.remove(key))) count += 1;
    }
    return count;
  }

  async #removeUnknown(): Promise<number> {
    const { store, index, isActive } = this.#options;
    let count = 0;
    for await (const { key, modifiedAt } of store.list()) {
      if (this.#closed) break;
      if (!this.#isOlder(modifiedAt, this.#keepMs) || isActive(key)) continue;
      if (index.get(key) !== undefined || index.isLive(key, this.#now())) continue;
      if (await this.#attempt(key, () => store.remove(key))) count += 1;
    }
    return count;
  }

  /** One that fails does not keep the others. */
  async #attempt(key: string, action: () => Promise<void>): Promise<boolean> {
    try {
      await action();
      return true;
    } catch (error) {
      this.#options.logger.warn({ err: error, key }, 'an object or upload could not be removed, trying again later');
      return false;
    }
  }

  #isOlder(time: Date, ageMs: number): boolean {
    return this.#now().getTime() - time.getTime() >= ageMs;
  }

  #now(): Date {
    return this.#options.now?.() ?? new Date();
  }
}
