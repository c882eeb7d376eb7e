import { type BigIntStats, constants } from 'node:fs';
import { join } from 'node:path';
import type { DatasetName } from '../../protocol/dataset-name.ts';
import { RelayError } from '../../protocol/errors.ts';
import { isOpenedBelow, type OpenedFile } from './containment.ts';
import type { DataDir, Root } from './data-dir.ts';
import { directDisk, threadedDisk } from './disk.ts';
import { isSameState } from './etag.ts';
import { type DatasetFacts, readFacts } from './facts.ts';
import { isNotThere, notFound, toDatasetError } from './file-errors.ts';
import { computePrefixTag, readPrefixLength } from './prefix.ts';
import { findNormalized, isOffered, isOwnSpelling } from './resolve-name.ts';
import type { Warm } from './warm.ts';

// Should a FIFO or a terminal take the file's place after the look at it, opening it must neither wait nor take it over.
const FLAGS = constants.O_RDONLY | (constants.O_NONBLOCK ?? 0) | (constants.O_NOCTTY ?? 0);

/** A dataset that is open for reading. Close it on every way out. */
export class OpenDataset implements AsyncDisposable {
  readonly #path: string;
  readonly #file: OpenedFile;
  readonly #stats: BigIntStats;
  readonly #warm: Warm;
  /** The entity tag of all that was there at opening, by which its state is known. */
  readonly #state: string;
  #facts: DatasetFacts;
  /** The size at the last look, where it may grow. */
  #currentSize: number | undefined;
  #users = 0;
  #isClosed = false;
  #onUnused: () => void = () => {};

  /** @param path by which it was opened. */
  constructor(name: DatasetName, path: string, stats: BigIntStats, file: OpenedFile, warm: Warm) {
    this.#facts = readFacts(name, stats);
    this.#state = this.#facts.etag;
    this.#path = path;
    this.#warm = warm;
    this.#stats = stats;
    this.#file = file;
  }

  /** Of what is sent: all that was there at opening, or the prefix that it is held to. */
  get facts(): DatasetFacts {
    return this.#facts;
  }

  /** How large the file was when it was last looked at, in bytes; undefined where it must not grow. */
  get currentSize(): number | undefined {
    return this.#currentSize;
  }

  /** Names the content, as long as nobody writes to the file: `facts.etag` may outlast that. */
  get contentKey(): string {
    return `${this.#state}${this.#facts.size} ${this.#facts.name}`;
  }

  /**
   * From now on the dataset is the bytes that are there now, and the file may grow. It must not get shorter than it was at
   * opening, and its name must go on leading to it.
   * @param etag of a prefix that was opened earlier: then it is that one, where the file still begins with it.
   */
  async holdToPrefix(etag: string | undefined): Promise<void> {
    const { size } = this.#facts;
    const length = Math.min(size, readPrefixLength(etag) ?? size);
    this.#facts = { ...this.#facts, size: length, etag: await this.#computePrefixTag(length) };
    this.#currentSize = size;
  }

  /**
   * Reads into `buffer` from `position`: on a thread, since content seldom is in memory, unless it was read just before.
   * @returns how many bytes were read, at least one.
   * @throws {RelayError} dataset_changed when the file is shorter by now; dataset_unreadable when the disk fails.
   */
  async read(buffer: Buffer, length: number, position: number): Promise<number> {
    const isLocal = this.#file.disk === directDisk;
    const disk = isLocal && this.#warm.hasPiece(this.#state, position, length) ? directDisk : threadedDisk;
    let bytesRead: number;
    try {
      bytesRead = await this.#use(({ descriptor }) => disk.read(descriptor, buffer, length, position));
    } catch (error) {
      throw toDatasetError(this.#facts.name, error);
    }
    if (bytesRead === 0) throw this.#changed();
    if (isLocal && disk === threadedDisk) this.#warm.notePiece(this.#state, position, bytesRead);
    return bytesRead;
  }

  /** Makes sure that the file is still the one that was opened. @throws {RelayError} dataset_changed when it is not. */
  async verify(): Promise<void> {
    const stats = await this.#use(({ descriptor, disk }) => disk.fstat(descriptor));
    const isSame = isSameState(stats, this.#stats);
    if (this.#currentSize === undefined) {
      if (!isSame) throw this.#changed();
      return;
    }
    if (stats.size < this.#stats.size || !(await this.#isStillNamed())) throw this.#changed();
    // Cut and written anew, it may be longer than before.
    const { etag, size } = this.#facts;
    if (!isSame && (await this.#computePrefixTag(size)) !== etag) throw this.#changed();
    this.#currentSize = Math.max(this.#currentSize, Number(stats.size));
  }

  /** @throws {RelayError} precondition_failed when `etag` is given and is not this dataset's. */
  match(etag: string | undefined): void {
    if (etag === undefined || etag === this.facts.etag) return;
    throw new RelayError('precondition_failed', `the dataset ${JSON.stringify(this.facts.name)} is no longer ${etag}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const { descriptor, disk } = this.#file;
    this.#isClosed = true;
    if (this.#users > 0) {
      await new Promise<void>((resolve) => {
        this.#onUnused = resolve;
      });
    }
    await disk.close(descriptor);
  }

  #computePrefixTag(length: number): Promise<string> {
    return computePrefixTag(this.#stats.ino, length, async (position, count) => {
      const bytes = Buffer.allocUnsafe(count);
      for (let filled = 0; filled < count; ) {
        filled += await this.read(bytes.subarray(filled), count - filled, position + filled);
      }
      return bytes;
    });
  }

  /** Whether the name still leads to the file that is open: a log that was put away is followed by another one. */
  async #isStillNamed(): Promise<boolean> {
    try {
      const { dev, ino } = await threadedDisk.stat(this.#path);
      return dev === this.#stats.dev && ino === this.#stats.ino;
    } catch (error) {
      if (isNotThere(error)) return false;
      throw toDatasetError(this.#facts.name, error);
    }
  }

  /** Keeps the file open until `work` is over: its descriptor may soon be another file's. */
  async #use<T>(work: (file: OpenedFile) => T | Promise<T>): Promise<T> {
    if (this.#isClosed) throw new RelayError('cancelled', 'the dataset is closed');
    this.#users++;
    try {
      return await work(this.#file);
    } finally {
      if (--this.#users === 0) this.#onUnused();
    }
  }

  #changed(): RelayError {
    const what = this.#currentSize === undefined ? 'changed' : 'was cut, replaced or written anew';
    return new RelayError(
      'dataset_changed',
      `the dataset ${JSON.stringify(this.facts.name)} ${what} while it was read`,
    );
  }
}

/**
 * Opens a dataset of the data directory, and nothing that lies outside it or is no regular file: opened first, then
 * checked, so that no swap in between helps.
 * @throws {RelayError} data_dir_unavailable when the directory itself is gone; dataset_not_found when there is no such
 * dataset or none that is offered; dataset_unreadable when it may not be read; overloaded when no file can be opened.
 */
export async function openDataset(dataDir: DataDir, name: DatasetName): Promise<OpenDataset> {
  const root = await dataDir.locate();
  try {
    if (!isOffered(name, dataDir)) throw notFound(name);
    const exact = (await isOwnSpelling(root.path, name, dataDir.platform)) ? name : undefined;
    return (exact && (await openExact(root, exact, dataDir.platform))) ?? (await openNormalized(root, name, dataDir));
  } catch (error) {
    const failure = toDatasetError(name, error);
    // A share that was lost in between looks like a missing file.
    if (failure.code !== 'overloaded') await dataDir.locate();
    throw failure;
  }
}

async function openNormalized(root: Root, name: DatasetName, dataDir: DataDir): Promise<OpenDataset> {
  const found = await findNormalized(root.path, name, dataDir.platform);
  if (found === undefined || !isOffered(found, dataDir)) throw notFound(name);
  const dataset = await openExact(root, found, dataDir.platform);
  if (dataset === undefined) throw notFound(name);
  return dataset;
}

/**
 * Opens what `name` spells, by the checks of {@link openDataset}. A thread looks first, unless one did lately: that may wait for a
 * disk to find the file, and what follows on a local one does not.
 * @returns undefined where there is nothing of that name.
 * @throws {RelayError} dataset_not_found when it is not offered; else the system's error.
 */
export async function openExact(
  root: Root,
  name: DatasetName,
  platform: NodeJS.Platform,
): Promise<OpenDataset | undefined> {
  const path = join(root.path, name);
  const isWarm = root.localDevice !== undefined && root.warm.hasLook(path);
  if (!isWarm) root.warm.noteLook(path);
  let found: BigIntStats;
  try {
    found = await (isWarm ? directDisk : threadedDisk).stat(path);
    if (!found.isFile()) throw notFound(name);
  } catch (error) {
    if (isNotThere(error)) return undefined;
    throw error;
  }
  const disk = found.dev === root.localDevice ? directDisk : threadedDisk;
  const file = { descriptor: await disk.open(path, FLAGS), disk };
  try {
    const stats = await disk.fstat(file.descriptor);
    if (!stats.isFile() || !(await isOpenedBelow(root.path, path, file, platform))) throw notFound(name);
    return new OpenDataset(name, path, stats, file, root.warm);
  } catch (error) {
    await disk.close(file.descriptor);
    throw error;
  }
}
