import type { Dirent, Stats } from 'node:fs';
import { lstat, opendir, stat } from 'node:fs/promises';
import type { Logger } from '../../observability/logger.ts';
import type { DatasetName } from '../../protocol/dataset-name.ts';
import { RelayError } from '../../protocol/errors.ts';
import { cursorAfter, type NameFilter, rollUp } from '../../protocol/name-filter.ts';
import { isTooRecent } from './age.ts';
import type { DataDir, Root } from './data-dir.ts';
import { type Directory, openDirectory } from './directory.ts';
import { type DatasetFacts, readFacts } from './facts.ts';
import { isNotThere, isRefused, systemCode } from './file-errors.ts';
import { describePlace, LastRead } from './last-read.ts';
import { openExact } from './open.ts';
import { isFoundBySpelling, isOffered } from './resolve-name.ts';
import { Smallest } from './smallest.ts';

/** Most directories on one path that are reached through a link. Links among them could multiply without end. */
const MAX_LINKED_DIRS = 3;

/** How many names of one directory are in memory: some pages. One with more names is read again for those that follow. */
const HELD_ENTRIES = 8192;

/** How many files are looked at side by side. */
const LOOKS_AT_ONCE = 32;

/** How many names come from the system at a time. */
const READ_ENTRIES = 1024;

interface ListOptions {
  /** Only names after this one, in order of code units. */
  readonly cursor?: string | undefined;
  /** Only names that this accepts. */
  readonly filter?: NameFilter | undefined;
  /** Only what has not changed for so long, in ms. Default 0: any. */
  readonly minAgeMs?: number | undefined;
  /** Give what lies below the next slash after this beginning as one name that ends in a slash. */
  readonly rollUpBeyond?: string | undefined;
  /** Whether to say where the walk is, though it found nothing. */
  readonly isOverdue?: () => boolean;
  readonly signal: AbortSignal;
  readonly logger: Logger;
}

/** What the walk finds: a dataset; a directory with any, rolled up; or, when it is overdue, a cursor to go on from. */
export type Listed =
  | { readonly kind: 'dataset'; readonly key: string; readonly facts: DatasetFacts }
  | { readonly kind: 'prefix' | 'passed'; readonly key: string };

type EntryKind = 'file' | 'directory' | 'file-link' | 'directory-link';

/** Something in a directory that may be, or lead to, datasets. `key` is its whole name, a directory's with a slash. */
interface Entry {
  readonly key: string;
  readonly name: string;
  readonly kind: EntryKind;
}

/** A directory that is to be entered. */
interface Place {
  readonly file: string;
  /** The common beginning of the names in it. */
  readonly prefix: string;
  /** The real paths of all directories above, of which none is entered again. */
  readonly chain: readonly string[];
  /** How many of them were reached through a link. */
  readonly linked: number;
  /** Whether it may itself be a link. */
  readonly follow: boolean;
}

/**
 * Walks all datasets in order of code units of their whole names. A part of one directory's names is in memory for each
 * level of depth; what precedes the cursor, and what the filter cannot accept, is not entered. Left out is what would not
 * open: what changed too lately, links that lead out, what is no regular file, names that are not UTF-8. What may not be read is listed, since it is
 * there.
 * @throws {RelayError} data_dir_unavailable when the directory, or the disk under it, is gone.
 */
export async function* listDatasets(dataDir: DataDir, options: ListOptions): AsyncGenerator<Listed> {
  const root = await dataDir.locate();
  const walk = new Walk(root, dataDir, options);
  yield* walk.enter({ file: root.path, prefix: '', chain: [], linked: 0, follow: true });
  // What was lost on the way would have looked like an end.
  await dataDir.locate();
}

const LAST_READ = new WeakMap<DataDir, LastRead<Entry>>();

class Walk {
  readonly #root: Root;
  readonly #dataDir: DataDir;
  readonly #options: ListOptions;
  readonly #last: LastRead<Entry>;
  readonly #startedAt = Date.now();

  constructor(root: Root, dataDir: DataDir, options: ListOptions) {
    this.#last = LAST_READ.get(dataDir) ?? new LastRead();
    LAST_READ.set(dataDir, this.#last);
    this.#root = root;
    this.#dataDir = dataDir;
    this.#options = options;
  }

  async *enter(place: Place): AsyncGenerator<Listed> {
    const { cursor = '', isOverdue } = this.#options;
    const directory = await this.#open(place);
    if (directory === undefined) return;
    try {
      for (let after: string | undefined, isCut = true; isCut; ) {
        const batch = await this.#orSkip(place.prefix, () => this.#read(directory, place.prefix, after));
        if (batch === undefined) return;
        for await (const [entry, facts] of this.#inspectAll(directory, batch.entries)) {
          const below = this.#below(place, directory, entry);
          if (below === undefined) {
            if (facts !== undefined) yield { kind: 'dataset', key: entry.key, facts };
          } else if (this.#isRolledUp(entry.key)) {
            if (await this.#holdsAny(below)) yield { kind: 'prefix', key: entry.key };
          } else yield* this.enter(below);
          const passed = below === undefined ? entry.key : cursorAfter(entry.key);
          if (isOverdue?.() === true && passed > cursor) yield { kind: 'passed', key: passed };
        }
        isCut = batch.isCut;
        after = batch.entries.at(-1)?.key;
      }
    } finally {
      await directory.close();
    }
  }

  /** Whether a directory leads to any dataset; it looks no further than to the first. */
  async #holdsAny(place: Place): Promise<boolean> {
    const directory = await this.#open(place);
    if (directory === undefined) return false;
    try {
      const found = await this.#orSkip(place.prefix, async () => {
        for await (const dirent of await opendir(directory.access)) {
          this.#options.signal.throwIfAborted();
          const entry = await this.#classify(directory, place.prefix, dirent.name, dirent);
          if (entry === undefined) continue;
          const below = this.#below(place, directory, entry);
          if (below === undefined ? await this.#inspect(directory, entry) : await this.#holdsAny(below)) return true;
        }
        return false;
      });
      return found ?? false;
    } finally {
      await directory.close();
    }
  }

  /** Opens a directory; undefined where it is not entered. */
  async #open({ file, prefix, chain, linked, follow }: Place): Promise<Directory | undefined> {
    if (linked > MAX_LINKED_DIRS) return undefined;
    const { platform } = this.#dataDir;
    const directory = await this.#orSkip(prefix, () => openDirectory(this.#root.path, file, follow, platform));
    if (directory === undefined || !chain.includes(directory.real)) return directory;
    await directory.close();
    return undefined;
  }

  /** Where an entry leads; undefined for one that is no directory. */
  #below({ chain, linked }: Place, directory: Directory, { key, name, kind }: Entry): Place | undefined {
    if (!key.endsWith('/')) return undefined;
    const isLink = kind === 'directory-link';
    return {
      file: `${directory.access}/${name}`,
      prefix: key,
      chain: [...chain, directory.real],
      linked: linked + Number(isLink),
      follow: isLink,
    };
  }

  /** The first entries of one directory after the cursor and `after`, in the order of the names to which they lead. */
  async #read(
    directory: Directory,
    prefix: string,
    after: string | undefined,
  ): Promise<{ readonly entries: readonly Entry[]; readonly isCut: boolean }> {
    const { signal } = this.#options;
    const only = this.#onlyPart(prefix);
    if (only !== undefined) {
      const look = await attempt(() => lstat(`${directory.access}/${only}`));
      const entry = look && (await this.#classify(directory, prefix, only, look));
      return { entries: entry !== undefined && this.#isAhead(entry.key, after) ? [entry] : [], isCut: false };
    }
    const from = after ?? this.#options.cursor ?? '';
    const place = await describePlace(directory, prefix, this.#options.filter);
    const left = this.#last.find(place, from)?.filter(({ key }) => this.#isAhead(key, after)) ?? [];
    if (left.length > 0) return { entries: left, isCut: true };
    const first = new Smallest<Entry>(HELD_ENTRIES);
    for await (const dirent of await opendir(directory.access, { bufferSize: READ_ENTRIES })) {
      signal.throwIfAborted();
      const isWanted = (key: string): boolean => this.#isAhead(key, after) && first.wants(key);
      const name = prefix + dirent.name;
      // Most of a long directory is dealt with here.
      if (!isWanted(name) && !isWanted(`${name}/`)) continue;
      const entry = await this.#classify(directory, prefix, dirent.name, dirent);
      if (entry !== undefined && isWanted(entry.key)) first.add(entry);
    }
    const read = first.take();
    if (read.isCut) this.#last.keep(place, from, read.entries);
    return read;
  }

  /** The one part that the filter lets names have next, where it need not be looked for. */
  #onlyPart(prefix: string): string | undefined {
    const base = this.#options.filter?.base ?? '';
    if (!base.startsWith(prefix) || base.length === prefix.length) return undefined;
    const part = base.slice(prefix.length, base.indexOf('/', prefix.length));
    return isFoundBySpelling(part, this.#dataDir.platform) ? part : undefined;
  }

  /** What an entry of a directory is; undefined where it is not offered or not wanted. */
  async #classify(
    directory: Directory,
    prefix: string,
    part: string,
    type: Pick<Dirent | Stats, 'isFile' | 'isDirectory' | 'isSymbolicLink'>,
  ): Promise<Entry | undefined> {
    const name = prefix + part;
    if (!isOffered(name, this.#dataDir)) return undefined;
    const kind = await kindOf(type, `${directory.access}/${part}`);
    if (kind === undefined) return undefined;
    const isDirectory = kind.startsWith('directory');
    const key = isDirectory ? `${name}/` : name;
    const { filter } = this.#options;
    if (filter !== undefined && !(isDirectory ? filter.mayHold(key) : filter.accepts(key))) return undefined;
    return { key, name: part, kind };
  }

  /** Whether what has this key comes after the cursor, and after what was read before. */
  #isAhead(key: string, after: string | undefined): boolean {
    const { cursor } = this.#options;
    if (after !== undefined && key <= after) return false;
    if (cursor === undefined || key > cursor) return true;
    // A directory with the cursor inside begins before it and is still entered, unless it was given as a whole.
    return key.endsWith('/') && cursor.startsWith(key) && !this.#isRolledUp(key);
  }

  #isRolledUp(key: string): boolean {
    const { rollUpBeyond } = this.#options;
    return rollUpBeyond !== undefined && rollUp(key, rollUpBeyond) === key;
  }

  /** Each entry with its facts, if it is a dataset that is wanted. Some are looked at side by side, since each look waits for a thread. */
  async *#inspectAll(
    directory: Directory,
    entries: readonly Entry[],
  ): AsyncGenerator<readonly [Entry, DatasetFacts | undefined]> {
    for (let at = 0; at < entries.length; at += LOOKS_AT_ONCE) {
      this.#options.signal.throwIfAborted();
      const some = entries.slice(at, at + LOOKS_AT_ONCE);
      const facts = await Promise.all(some.map((entry) => this.#inspect(directory, entry)));
      for (const [index, entry] of some.entries()) {
        this.#options.signal.throwIfAborted();
        yield [entry, facts[index]];
      }
    }
  }

  async #inspect(directory: Directory, { key, name, kind }: Entry): Promise<DatasetFacts | undefined> {
    if (kind.startsWith('directory')) return undefined;
    const facts = await (kind === 'file' ? inspect(`${directory.access}/${name}`, key) : this.#inspectLink(key));
    return facts && isTooRecent(facts, this.#options.minAgeMs ?? 0, this.#startedAt) ? undefined : facts;
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

async function kindOf(
  type: Pick<Dirent | Stats, 'isFile' | 'isDirectory' | 'isSymbolicLink'>,
  file: string,
): Promise<EntryKind | undefined> {
  if (type.isFile()) return 'file';
  if (type.isDirectory()) return 'directory';
  if (!type.isSymbolicLink()) return undefined;
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
