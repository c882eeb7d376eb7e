import { hash } from 'node:crypto';
import type { BigIntStats } from 'node:fs';

/** How much of the hash is enough, in characters of base64url: 132 bits. */
const ETAG_LENGTH = 22;

/** Whether a file is as it was: all that its entity tag is made of is the same. */
export const isSameState = (a: BigIntStats, b: BigIntStats): boolean =>
  a.size === b.size && a.mtimeNs === b.mtimeNs && a.ctimeNs === b.ctimeNs && a.ino === b.ino;

/**
 * The strong entity tag of a file (RFC 9110 §8.8.3): size, both times in nanoseconds and inode, hashed, so that nothing
 * of the machine shows. A change that keeps the size and falls into the file system's own tick of time is not seen.
 */
export function computeEtag({ size, mtimeNs, ctimeNs, ino }: BigIntStats): string {
  return `"${hash('sha256', `${size} ${mtimeNs} ${ctimeNs} ${ino}`, 'base64url').slice(0, ETAG_LENGTH)}"`;
}
