import { closeSync, fstatSync, openSync, type Stats, unlinkSync } from 'node:fs';
import { lstat } from 'node:fs/promises';
import type { DatabaseSync } from 'node:sqlite';

/** How often a lock file may be taken away, by whoever had it, while it is being opened. */
const MAX_ATTEMPTS = 10;

/**
 * A lock that one holder has at a time, in this process or another, and that ends with its holder however that ends: the
 * system's own on a file, which Node.js shows through SQLite alone. The file is there while the lock is held; what a killed
 * holder has left is taken over.
 */
export class FileLock {
  readonly #database: DatabaseSync;
  readonly #path: string;

  private constructor(database: DatabaseSync, path: string) {
    this.#database = database;
    this.#path = path;
  }

  /** Takes the lock without waiting. @returns undefined where another has it, or it cannot be had here. */
  static async acquire(path: string): Promise<FileLock | undefined> {
    try {
      for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt += 1) {
        const before = (await findFile(path)) ?? create(path);
        if (before === undefined) continue;
        if (!isOwnFile(before)) return undefined;
        const database = await openExclusively(path);
        // Its former holder may have removed the file in between; a lock on what has no name keeps nobody out.
        if ((await findFile(path))?.ino === before.ino) return new FileLock(database, path);
        database.close();
      }
    } catch {
      // Locked, or a file system without locks, or a directory that cannot be written: that shows elsewhere.
    }
    return undefined;
  }

  /** Removes the file and lets go. */
  release(): void {
    const remove = (): void => {
      try {
        unlinkSync(this.#path);
      } catch {
        // Windows removes no open file, and is asked once more below.
      }
    };
    // While it is held, so that nobody can hold a file that is about to lose its name.
    remove();
    if (!this.#database.isOpen) return;
    this.#database.close();
    if (process.platform === 'win32') remove();
  }
}

/** Whether it is a regular file of this user's, under this name alone. */
export const isOwnFile = (stats: Stats): boolean =>
  stats.isFile() && stats.nlink === 1 && stats.uid === (process.getuid?.() ?? stats.uid);

async function openExclusively(path: string): Promise<DatabaseSync> {
  const { DatabaseSync } = await import('node:sqlite');
  const database = new DatabaseSync(path);
  try {
    // Nothing is ever written: the transaction is the lock.
    database.exec('PRAGMA journal_mode = MEMORY; PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE;');
    return database;
  } catch (error) {
    database.close();
    throw error;
  }
}

const findFile = async (path: string): Promise<Stats | undefined> => {
  try {
    return await lstat(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
};

/** Makes the file; undefined where somebody else just did. @throws where it is another's at once, as on some shares. */
function create(path: string): Stats | undefined {
  try {
    const descriptor = openSync(path, 'wx', 0o600);
    const stats = fstatSync(descriptor);
    // At once: closing a file gives up every lock of this process on it.
    closeSync(descriptor);
    if (isOwnFile(stats)) return stats;
    unlinkSync(path);
    throw new Error('whose file this is cannot be told here');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return undefined;
    throw error;
  }
}
