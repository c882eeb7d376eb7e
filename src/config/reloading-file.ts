import { readFileSync, statSync } from 'node:fs';

/** How often a file is looked at, at most, in ms. */
const CHECK_EVERY_MS = 1000;

interface ReloadOptions {
  /** Told when a changed file cannot be used; what it held before still counts. Once for each change. */
  readonly onError: (error: unknown) => void;
  /** Told when a changed file was read. */
  readonly onReload?: (() => void) | undefined;
  readonly now?: () => number;
}

/**
 * A file that is read again when it has changed, so that a secret can be replaced without a restart. It is looked at when it
 * is asked for, at most once a second, so there is nothing to close. Whatever renames a new file over the old one, as
 * Kubernetes does with mounted secrets, is noticed as well.
 */
export class ReloadingFile<T> {
  readonly #path: string;
  readonly #parse: (text: string) => T;
  readonly #options: ReloadOptions;
  readonly #now: () => number;
  #value: T;
  #stamp: string;
  #checkedAt: number;

  /** Reads the file for the first time. @throws what reading or `parse` throws. */
  constructor(path: string, parse: (text: string) => T, options: ReloadOptions) {
    this.#path = path;
    this.#parse = parse;
    this.#options = options;
    this.#now = options.now ?? (() => performance.now());
    this.#stamp = stampOf(path);
    this.#value = parse(readFileSync(path, 'utf8'));
    this.#checkedAt = this.#now();
  }

  /** What the file holds; the same object until the file changes. */
  read(): T {
    const now = this.#now();
    if (now - this.#checkedAt >= CHECK_EVERY_MS) {
      this.#checkedAt = now;
      this.#check();
    }
    return this.#value;
  }

  #check(): void {
    const stamp = stampOf(this.#path);
    if (stamp === this.#stamp) return;
    this.#stamp = stamp;
    try {
      this.#value = this.#parse(readFileSync(this.#path, 'utf8'));
      this.#options.onReload?.();
    } catch (error) {
      this.#options.onError(error);
    }
  }
}

/** What changes when a file does; empty where there is none. */
function stampOf(path: string): string {
  const stats = statSync(path, { bigint: true, throwIfNoEntry: false });
  return stats === undefined ? '' : `${stats.dev}:${stats.ino}:${stats.size}:${stats.mtimeNs}:${stats.ctimeNs}`;
}
