import { closeSync, fstatSync, mkdirSync, openSync, renameSync, rmSync, statSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';

export interface LogFileOptions {
  readonly path: string;
  /** A line that would make the file larger begins a new one, in bytes. */
  readonly maxBytes: number;
  /** How many files are kept in all, the current one included. */
  readonly maxFiles: number;
  /** Where lines go while the file cannot be written. */
  readonly fallback: (line: string) => void;
}

/** How often a file that cannot be written is tried again, and one that can is looked for by its name, in ms. */
const CHECK_MS = 10_000;

/**
 * A log in a file that is rotated by size: `relay.log` becomes `relay.log.1`, that `relay.log.2`, and the oldest goes. Lines
 * are in the file when `write` returns, so that none is lost however the process ends. What cannot be written (no space, no
 * permission) goes to the fallback, until the file can be written again; it never throws. A file that another program moved
 * away or removed is begun anew.
 */
export class LogFile {
  readonly #options: LogFileOptions;
  #fd: number | undefined;
  #size = 0;
  /** Until when nothing is tried again, or looked for, on the clock of `performance`. */
  #checkAt = 0;
  #isFailing = false;
  #isCut = false;

  constructor(options: LogFileOptions) {
    this.#options = options;
  }

  /** Appends a line, its end included. */
  write(line: string): void {
    // The rest of a line that a full disk cut short is nowhere: what follows begins a line of its own.
    const bytes = Buffer.from(this.#isCut ? `\n${line}` : line);
    try {
      if (!this.#isReady(bytes.length)) {
        this.#options.fallback(line);
        return;
      }
      this.#append(bytes);
      this.#isFailing = false;
      this.#isCut = false;
    } catch (error) {
      this.#fail(error as Error);
      this.#options.fallback(line);
    }
  }

  /** Closes the file. */
  close(): void {
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
  }

  #isReady(bytes: number): boolean {
    const now = performance.now();
    const isDue = now >= this.#checkAt;
    if (isDue) this.#checkAt = now + CHECK_MS;
    if (this.#fd === undefined) {
      if (!isDue && this.#isFailing) return false;
      this.#open();
    } else if (isDue && !this.#isStillThere(this.#fd)) {
      this.close();
      this.#open();
    }
    if (this.#size > 0 && this.#size + bytes > this.#options.maxBytes) this.#rotate();
    return true;
  }

  #append(bytes: Buffer): void {
    for (let written = 0; written < bytes.length; ) {
      const count = writeSync(this.#fd as number, bytes, written);
      written += count;
      this.#size += count;
      this.#isCut = written < bytes.length;
    }
  }

  #open(): void {
    const { path } = this.#options;
    mkdirSync(dirname(path), { recursive: true });
    this.#fd = openSync(path, 'a', 0o640);
    this.#size = fstatSync(this.#fd).size;
  }

  #isStillThere(fd: number): boolean {
    const [named, open] = [statSync(this.#options.path, { throwIfNoEntry: false }), fstatSync(fd)];
    return named?.ino === open.ino && named.dev === open.dev;
  }

  #rotate(): void {
    const { path, maxFiles } = this.#options;
    // Closed first, since Windows renames no file that is open.
    this.close();
    const nameOf = (index: number): string => (index === 0 ? path : `${path}.${index}`);
    rmSync(nameOf(maxFiles - 1), { force: true });
    for (let index = maxFiles - 2; index >= 0; index--) {
      try {
        renameSync(nameOf(index), nameOf(index + 1));
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
      }
    }
    this.#open();
  }

  #fail(error: Error): void {
    try {
      this.close();
    } catch {
      // What could not be written may not be closed well either.
      this.#fd = undefined;
    }
    if (this.#isFailing) return;
    this.#isFailing = true;
    this.#checkAt = performance.now() + CHECK_MS;
    this.#options.fallback(
      `relay: cannot write ${this.#options.path} (${error.message}); the log goes on here meanwhile\n`,
    );
  }
}
