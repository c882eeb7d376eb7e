import type { Dirent } from 'node:fs';
import { lstat, opendir, stat } from 'node:fs/promises';
import type { Logger } from '../../observability/logger.ts';
import type { DatasetName } from '../../protocol/dataset-name.ts';
import { RelayError } from '../../protocol/errors.ts';
import type { DataDir, Root } from './data-dir.ts';
import { type Directory, openDirectory } from './directory.ts';
import { type DatasetFacts, readFacts } from './facts.ts';
import { isNotThere, isRefused, systemCode } from './file-errors.ts';
import { openExact } from './open.ts';
import { isOffered } from './resolve-name.ts';

/** Most directories on one path that are reached through a link. Links among them could multiply without end. */
const MAX_LINKED_DIRS = 3;

interface ListOptions {
  /** Only names after this one, in order of code units. */
  readonly cursor?: string | undefined;
  readonly signal: AbortSignal;
  readonly logger: Logger;
}

type EntryKind = 'file' | 'directory' | 'file-link' | 'directory-link';

/** Something in a directory that may be, or lead to, datasets. `key` is its whole name, a directory's with a slash. */
interface Entry {
  readonly key: string;
  readonly name: string;
  readonly kind: EntryKind;
}

/**
 * Walks all datasets in order of code units of their whole names. One directory's names are in memory for each level of
 * depth; what precedes the cursor is not entered. Left out is what would not open: links that lead out, what is no regular
 * file, names that are not UTF-8. What may not be read is listed, since it is there.
 * @throws {RelayError} data_dir_unavailable when the directory, or the disk under it, is gone.
 */
export async function* listDatasets(dataDir: DataDir, options: ListOptions): AsyncGenerator<DatasetFacts> {
  const root = await dataDir.locate();
  yield* new Walk(root, dataDir, options).enter(root.path, '', [], 0, true);
  // What was lost on the way would have looked like an end.
  await dataDir.locate();
}

class Walk {
  readonly #root: Root;
  readonly #dataDir: DataDir;
  readonly #options: ListOptions;

  constructor(root: Root, dataDir: DataDir, options: ListOptions) {
    this.#root = root;
    this.#dataDir = dataDir;
    this.#options = options;
  }

  /**
   * @param file where the directory is. @param prefix the names' common beginning. @param chain the real paths of all
   * directories above, of which none is entered again. @param linked how many of them were reached through a link.
   */
  async *enter(
    file: string,
    prefix: string,
    chain: readonly string[],
    linked: number,
    follow: boolean,
  ): AsyncGenerator<DatasetFacts> {
    const directory = await this.#orSkip(prefix, () =>
      openDirectory(this.#root.path, file, follow, this.#dataDir.platform),
    );
    if (directory === undefined) return;
    try {
      if (chain.includes(directory.real)) return;
      const entries = (await this.#orSkip(prefix, () => this.#read(directory, prefix))) ?? [];
      const below = [...chain, directory.real];
      for (const { key, name, kind } of entries) {
        this.#options.signal.throwIfAborted();
        const path = `${directory.access}/${name}`;
        if (kind === 'directory') yield* this.enter(path, key, below, linked, false);
        else if (kind === 'directory-link') {
          if (linked < MAX_LINKED_DIRS) yield* this.enter(path, key, below, linked + 1, true);
        } else {
          const facts = kind === 'file' ? await inspect(path, key) : await this.#inspectLink(key);
          if (facts !== undefined) yield facts;
        }
      }
    } finally {
      await directory.close();
    }
  }

  /** The entries of one directory after the cursor, in the order of the names to which they lead. */
  async #read(directory: Directory, prefix: string): Promise<Entry[]> {
    const { cursor, signal } = this.#options;
    const entries: Entry[] = [];
    for await (const dirent of await opendir(directory.access, { bufferSize: 256 })) {
      signal.throwIfAborted();
      const name = prefix + dirent.name;
      if (!isOffered(name, this.#dataDir)) continue;
      const kind = await classify(dirent, `${directory.access}/${dirent.name}`);
      if (kind === undefined) continue;
      const key = kind.startsWith('directory') ? `${name}/` : name;
      // A directory with the cursor inside begins before it and is still entered.
      const isWanted = cursor === undefined || key > cursor || (key.endsWith('/') && cursor.startsWith(key));
      if (isWanted) entries.push({ key, name: dirent.name, kind });
    }
    return entries.toSorted((a, b) => (a.key < b.key ? -1 : Number(a.key > b.key)));
  }

  /** A link is taken for what opens under its name, by the same checks. */
  async #inspectLink(name: string): Promise<DatasetFacts | undefined> {
    try {
      await using dataset = await openExact(this.#root, name as DatasetName, this.#dataDir.platform);
      return dataset?.facts;
    } catch (error) {
      const isLeftOut = error instanceof RelayError ? error.code === 'dataset_not_found' : systemCode(error) !== '';
      if (!isLeftOut) throw error;
      return undefined;
    }
  }

  /** What `look` gives; undefined where a directory went away or may not be read. @throws {RelayError} where the disk fails. */
  async #orSkip<T>(prefix: string, look: () => Promise<T>): Promise<T | undefined> {
    try {
      return await look();
    } catch (error) {
      const code = systemCode(error);
      if (this.#options.signal.aborted || code === '') throw error;
      await this.#dataDir.locate();
      if (isNotThere(error)) return undefined;
      if (isRefused(error)) {
        this.#options.logger.warn(
          { directory: prefix, code },
          'a directory may not be read; it is left out of the listing',
        );
        return undefined;
      }
      if (code === 'EMFILE' || code === 'ENFILE') {
        throw new RelayError('overloaded', `the connector has too many files open (${code})`, { cause: error });
      }
      throw new RelayError('data_dir_unavailable', `the connector's data directory cannot be read (${code})`, {
        cause: error,
      });
    }
  }
}

async function classify(dirent: Dirent, file: string): Promise<EntryKind | undefined> {
  if (dirent.isFile()) return 'file';
  if (dirent.isDirectory()) return 'directory';
  if (!dirent.isSymbolicLink()) return undefined;
  const target = await attempt(() => stat(file));
  if (target?.isDirectory() === true) return 'directory-link';
  return target?.isFile() === true ? 'file-link' : undefined;
}

async function inspect(file: string, name: string): Promise<DatasetFacts | undefined> {
  const stats = await attempt(() => lstat(file, { bigint: true }));
  return stats?.isFile() === true ? readFacts(name as DatasetName, stats) : undefined;
}

/** The value, or undefined where the file system refuses it: it went away, or leads nowhere. */
async function attempt<T>(look: () => Promise<T>): Promise<T | undefined> {
  try {
    return await look();
  } catch (error) {
    if (systemCode(error) === '') throw error;
    return undefined;
  }
}
