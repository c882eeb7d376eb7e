import { stat } from 'node:fs/promises';
import type { NameFilter } from '../../protocol/name-filter.ts';

/** How long what was read counts at most, in ms: not every file system tells of each change. */
const KEPT_MS = 10_000;

/** The part of a long directory that was read last, so that it is not read whole for each page. */
export class LastRead<T extends { readonly key: string }> {
  #read: Read<T> | undefined;

  /** What was read for an earlier page of the same walk, from `from` or before it on; undefined where that is no longer so. */
  find(place: ReadPlace, from: string): readonly T[] | undefined {
    const read = this.#read;
    if (read === undefined || read.from > from || performance.now() - read.at > KEPT_MS) return undefined;
    return isSame(read.place, place) ? read.entries : undefined;
  }

  /** Keeps what was read. @param place as it was before the reading. */
  keep(place: ReadPlace, from: string, entries: readonly T[]): void {
    this.#read = { place, from, entries, at: performance.now() };
  }
}

/** Where something was read: a directory as it was then, under a name, and for what. */
export interface ReadPlace {
  readonly real: string;
  readonly prefix: string;
  readonly changedAt: bigint;
  readonly wish: string;
}

interface Read<T> {
  readonly place: ReadPlace;
  readonly from: string;
  readonly entries: readonly T[];
  readonly at: number;
}

/** Looks where a directory is and when it changed last. @throws the system's error. */
export async function describePlace(
  { real, access }: { readonly real: string; readonly access: string },
  prefix: string,
  filter: NameFilter | undefined,
): Promise<ReadPlace> {
  const { mtimeNs } = await stat(`${access}/.`, { bigint: true });
  return { real, prefix, changedAt: mtimeNs, wish: filter?.key ?? '' };
}

const isSame = (one: ReadPlace, other: ReadPlace): boolean =>
  one.real === other.real &&
  one.prefix === other.prefix &&
  one.changedAt === other.changedAt &&
  one.wish === other.wish;
