import { mayBeSpeltOtherwise } from './dataset-name.ts';
import { RelayError } from './errors.ts';
import { Glob } from './glob.ts';
import { MAX_DATASET_NAME_BYTES } from './limits.ts';

/** What names of a listing are to be like. */
export interface NameWish {
  readonly prefix?: string | undefined;
  readonly glob?: string | undefined;
}

/** The one character at which names are rolled up. */
export const DELIMITER = '/';

/** Follows, in order of code units, all names that begin with what stands before it. */
const LAST = '\uffff';

/** Tells which names a listing is about, and which directories need not be looked into for them. */
export class NameFilter {
  readonly #prefix: string;
  readonly #normalPrefix: string;
  readonly #glob: Glob | undefined;
  /** The directory that all the names are in, with its slash; empty where that cannot be told. */
  readonly base: string;
  /** Tells filters apart. */
  readonly key: string;

  /** @throws {RelayError} invalid_request when one of the two cannot be. */
  constructor({ prefix = '', glob }: NameWish) {
    if (!prefix.isWellFormed()) throw new RelayError('invalid_request', 'prefix: it is not valid Unicode');
    if (prefix.length > MAX_DATASET_NAME_BYTES)
      throw new RelayError('invalid_request', `prefix: it is longer than ${MAX_DATASET_NAME_BYTES} characters`);
    this.key = JSON.stringify([prefix, glob]);
    this.#prefix = prefix;
    this.#normalPrefix = prefix.normalize('NFC');
    this.#glob = glob === undefined ? undefined : new Glob(glob);
    const bases = [directoryOf(prefix), this.#glob?.base ?? ''];
    this.base = bases.toSorted((a, b) => b.length - a.length).find((base) => !mayBeSpeltOtherwise(base)) ?? '';
  }

  /** Whether a name is wanted, exactly or in NFC. */
  accepts(name: string): boolean {
    return this.#begins(name) && (this.#glob === undefined || this.#glob.matches(name));
  }

  /** Whether names below a directory could be wanted. @param directory with its slash. */
  mayHold(directory: string): boolean {
    const isOnTheWay =
      this.#begins(directory) ||
      this.#prefix.startsWith(directory) ||
      this.#normalPrefix.startsWith(directory.normalize('NFC'));
    return isOnTheWay && (this.#glob === undefined || this.#glob.mayMatchBelow(directory));
  }

  /** Whether this name, and so all that follow it in order of code units, come after all that are wanted. */
  isPast(name: string): boolean {
    return this.base !== '' && name > this.base && !name.startsWith(this.base);
  }

  #begins(name: string): boolean {
    if (this.#prefix === '' || name.startsWith(this.#prefix)) return true;
    return name.normalize('NFC').startsWith(this.#normalPrefix);
  }
}

/** The directory that a prefix names whole, with its slash; empty for the uppermost. */
export const directoryOf = (prefix: string): string => prefix.slice(0, prefix.lastIndexOf(DELIMITER) + 1);

/** What a name is rolled up into, up to the first delimiter beyond the prefix; undefined where there is none. */
export function rollUp(name: string, prefix: string): string | undefined {
  // The name may be spelt in another form than the prefix, but it has the same delimiters.
  let end = -1;
  for (let left = prefix.split(DELIMITER).length; left > 0; left--) {
    end = name.indexOf(DELIMITER, end + 1);
    if (end < 0) return undefined;
  }
  return name.slice(0, end + 1);
}

/** A cursor after all names in a directory, in order of code units. @param directory with its slash. */
export const cursorAfter = (directory: string): string => directory + LAST;
