import type { Hash } from 'node:crypto';
import { createHash } from 'node:crypto';

const FIELD = /(?:^|,)\s*sha-256\s*=\s*:([A-Za-z0-9+/]{43}=):/;

/** A running SHA-256, the one digest that relay speaks. */
export const createDigest = (): Hash => createHash('sha256');

/** Ends a running SHA-256 as the value of a digest field, `sha-256=:…:` (RFC 9530 §2). */
export const finishDigest = (hash: Hash): string => `sha-256=:${hash.digest('base64')}:`;

/** The SHA-256 member of a `Repr-Digest` or `Content-Digest` field, in its one written form; undefined without one. */
export function parseDigest(field: string | null | undefined): string | undefined {
  const match = FIELD.exec(field ?? '');
  return match === null ? undefined : `sha-256=:${Buffer.from(match[1] as string, 'base64').toString('base64')}:`;
}

/** The digest in lower-case hex, as `sha256sum` prints it. */
export const digestToHex = (digest: string): string =>
  Buffer.from(digest.slice('sha-256=:'.length, -1), 'base64').toString('hex');

/** Whether a `Want-Repr-Digest` field asks for SHA-256 (RFC 9530 §4: a preference of 0 means not wanted). */
export function wantsDigest(field: string | string[] | null | undefined): boolean {
  const text = Array.isArray(field) ? field.join(',') : (field ?? '');
  return text.split(',').some((member) => /^\s*sha-256(?:\s*=\s*(?:[1-9]|10))?\s*$/i.test(member));
}
