import type { BigIntStats } from 'node:fs';
import { type FileHandle, open, readdir, rename, stat, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { RelayError } from '../protocol/errors.ts';
import { isMissing } from './file-store-errors.ts';
import { fileNameToKey, keyToFileName } from './object-key.ts';
import type { StoredObject } from './object-store.ts';

interface Entry {
  readonly size: number;
  readonly modifiedAt: Date;
  readers: number;
}

/** An object that is open for reading. It can be read to its end even when it is removed meanwhile. */
export interface OpenObject {
  readonly file: FileHandle;
  readonly size: number;
  readonly etag: string;
  readonly modifiedAt: Date;
  close(): Promise<void>;
}

interface ObjectFilesOptions {
  readonly directory: string;
  /** Told how many bytes are gone with an object. */
  readonly onFreed: (bytes: number) => void;
}

/** The strong entity tag of an object: of size, modification time and inode, so the same after a restart. */
const formatObjectEtag = (stats: BigIntStats): string =>
  `"${stats.size.toString(16)}-${stats.mtimeNs.toString(16)}-${stats.ino.toString(16)}"`;

/** The finished objects of the file store: one file each, with what is known of them kept in memory, oldest first. */
export class ObjectFiles {
  readonly #directory: string;
  readonly #onFreed: (bytes: number) => void;
  readonly #entries = new Map<string, Entry>();

  constructor({ directory, onFreed }: ObjectFilesOptions) {
    this.#directory = directory;
    this.#onFreed = onFreed;
  }

  /** Reads what is there. @returns the bytes that it takes. */
  async load(): Promise<number> {
    const found: StoredObject[] = [];
    for (const name of await readdir(this.#directory)) {
      const key = fileNameToKey(name);
      const object = key === undefined ? undefined : await this.#readStats(key);
      if (object !== undefined) found.push(object);
    }
    found.sort((a, b) => a.modifiedAt.getTime() - b.modifiedAt.getTime());
    this.#entries.clear();
    for (const { key, size, modifiedAt } of found) this.#entries.set(key, { size, modifiedAt, readers: 0 });
    return found.reduce((sum, object) => sum + object.size, 0);
  }

  /**
   * Makes a finished file into an object: on the disk, then under its name, at once and whole. Closes the file.
   * @returns the entity tag of the object.
   */
  async publish(key: string, file: FileHandle, path: string): Promise<string> {
    let stats: BigIntStats;
    try {
      await file.sync();
      stats = await file.stat({ bigint: true });
    } finally {
      await file.close();
    }
    await this.#moveIn(path, this.#pathOf(key));
    const replaced = this.#entries.get(key);
    this.#entries.delete(key);
    this.#entries.set(key, { size: Number(stats.size), modifiedAt: stats.mtime, readers: 0 });
    if (replaced !== undefined) this.#onFreed(replaced.size);
    return formatObjectEtag(stats);
  }

  /** Opens an object for reading. @throws {RelayError} not_found */
  async open(key: string): Promise<OpenObject> {
    const entry = this.#entries.get(key);
    if (entry === undefined) throw notFound();
    // Counted before the file is open, lest it be evicted in between.
    entry.readers += 1;
    let file: FileHandle | undefined;
    try {
      file = await open(this.#pathOf(key), 'r');
      const stats = await file.stat({ bigint: true });
      const opened = file;
      return {
        file,
        size: Number(stats.size),
        etag: formatObjectEtag(stats),
        modifiedAt: stats.mtime,
        close: async () => {
          entry.readers -= 1;
          await opened.close();
        },
      };
    } catch (error) {
      entry.readers -= 1;
      await file?.close();
      if (!isMissing(error)) throw error;
      this.#forget(key, entry);
      throw notFound();
    }
  }

  async stat(key: string): Promise<StoredObject | undefined> {
    const entry = this.#entries.get(key);
    if (entry === undefined) return undefined;
    const object = await this.#readStats(key);
    if (object === undefined) this.#forget(key, entry);
    return object;
  }

  async remove(key: string): Promise<void> {
    const entry = this.#entries.get(key);
    if (entry === undefined) return;
    try {
      await unlink(this.#pathOf(key));
    } catch (error) {
      if (!isMissing(error)) throw error;
    }
    this.#forget(key, entry);
  }

  /** Every object, oldest first. What comes or goes meanwhile may be in it or not. */
  *list(): Iterable<StoredObject> {
    for (const [key, { size, modifiedAt }] of this.#entries) yield { key, size, modifiedAt };
  }

  /** The objects that nobody reads, oldest first. */
  *listUnread(): Iterable<StoredObject> {
    for (const [key, { size, modifiedAt, readers }] of this.#entries) {
      if (readers === 0) yield { key, size, modifiedAt };
    }
  }

  async #moveIn(from: string, to: string): Promise<void> {
    await rename(from, to);
    try {
      await syncDirectory(this.#directory);
    } catch (error) {
      await unlink(to);
      throw error;
    }
  }

  async #readStats(key: string): Promise<StoredObject | undefined> {
    try {
      const stats = await stat(this.#pathOf(key));
      return stats.isFile() ? { key, size: stats.size, modifiedAt: stats.mtime } : undefined;
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw error;
    }
  }

  #forget(key: string, entry: Entry): void {
    // Another object may stand under the key by now.
    if (this.#entries.get(key) !== entry) return;
    this.#entries.delete(key);
    this.#onFreed(entry.size);
  }

  #pathOf(key: string): string {
    return join(this.#directory, keyToFileName(key));
  }
}

async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, 'r');
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

const notFound = (): RelayError => new RelayError('not_found', 'there is no such object in the store');
