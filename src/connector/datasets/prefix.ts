import { createHash } from 'node:crypto';

/**
 * How much of a prefix is looked at, at its beginning and at its end, in bytes. A file that was written anew has other
 * bytes there: a log has its times at the end, and other formats count their changes at the beginning.
 */
const SAMPLE_BYTES = 4096;

const TAG = /^"prefix-(0|[1-9]\d{0,15})-[\w-]{22}"$/;
const HASH_LENGTH = 22;

/** Reads so many bytes from `position` on, all of them. */
type ReadAll = (position: number, length: number) => Promise<Buffer>;

/**
 * The strong entity tag of the first bytes of a file (RFC 9110 §8.8.3), which stays the same while the file only grows:
 * their number, and a hash of it, of the inode and of both ends. Neither the times are in it, which every growth changes,
 * nor the device, whose number may be another after a restart of the machine. What is overwritten in the middle is not seen.
 */
export async function computePrefixTag(inode: bigint, length: number, read: ReadAll): Promise<string> {
  const hash = createHash('sha256').update(`${inode} ${length} `);
  const sampled = Math.min(SAMPLE_BYTES, length);
  hash.update(await read(0, sampled));
  if (length > sampled) hash.update(await read(length - sampled, sampled));
  return `"prefix-${length}-${hash.digest('base64url').slice(0, HASH_LENGTH)}"`;
}

/** How many bytes the tag of a prefix speaks of; undefined for any other tag. */
export function readPrefixLength(etag: string | undefined): number | undefined {
  const length = TAG.exec(etag ?? '')?.[1];
  return length === undefined ? undefined : Number(length);
}
