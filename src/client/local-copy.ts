import type { Stats } from 'node:fs';
import { constants } from 'node:fs';
import { lstat, lutimes, open } from 'node:fs/promises';
import type { DatasetInfo } from '../protocol/answers.ts';
import { RelayError } from '../protocol/errors.ts';
import { finishDigest } from '../http/digest.ts';
import { hashLead } from './file-writer.ts';

/**
 * The regular file under a name that is not followed.
 * @returns undefined where there is none. @throws {RelayError} output_failed where something else is in its place.
 */
export async function findCopy(path: string): Promise<Stats | undefined> {
  const found = await lstat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
  if (found === undefined || found.isFile()) return found;
  const what = found.isSymbolicLink() ? 'a link, and none is followed' : 'no regular file';
  throw new RelayError('output_failed', `what is there under that name is ${what}`);
}

/** Whether a file looks like the dataset as it is now: the same size and time of change. */
export function looksCurrent({ size, mtimeMs }: Stats, dataset: DatasetInfo): boolean {
  const mtime = Date.parse(dataset.mtime ?? '');
  if (size !== dataset.size || Number.isNaN(mtime)) return false;
  const there = Math.round(mtimeMs);
  // HTTP, and some file systems, know whole seconds only.
  return Math.abs(there - mtime) <= 1 || (there % 1000 === 0 && there === Math.floor(mtime / 1000) * 1000);
}

/**
 * Gives a file that was compared the time of its dataset, if it is still what it was.
 * @returns what it is now; undefined where that cannot be told. @throws what the system says where its time cannot be set.
 */
export async function setTime(path: string, before: Stats, mtime: Date): Promise<Stats | undefined> {
  const isAsBefore = ({ ino, size, mtimeMs }: Stats): boolean =>
    ino === before.ino && size === before.size && mtimeMs === before.mtimeMs;
  if (!isAsBefore(await lstat(path))) return undefined;
  await lutimes(path, new Date(), mtime);
  const after = await lstat(path);
  return after.ino === before.ino && after.size === before.size ? after : undefined;
}

/** The SHA-256 of a file, `sha-256=:…:`. */
export async function digestCopy(path: string, size: number, signal?: AbortSignal): Promise<string> {
  const handle = await open(path, constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0));
  try {
    return finishDigest((await hashLead(handle, size, signal)).hash);
  } finally {
    await handle.close();
  }
}
