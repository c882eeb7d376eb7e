import { randomBytes } from 'node:crypto';
import type { Mac } from '../protocol/mac.ts';

/** Every key that relay makes begins with this, so that it can share a bucket with others. */
export const KEY_ROOT = 'datasets/';

/** Letters, digits, `_` and `-` between single slashes: with no dot at all, no key can climb out of a directory. */
const SHAPE = /^[A-Za-z0-9_-]+(?:\/[A-Za-z0-9_-]+)*$/;
const MAX_KEY_LENGTH = 200;

/** A new key for one sending of a dataset: `datasets/<mac>/<128 random bits>`. */
export const createObjectKey = (mac: Mac): string => `${KEY_ROOT}${mac}/${randomBytes(16).toString('hex')}`;

/** Whether `text` could be a key at all: hostile input is refused here, before it becomes a file name. */
export const isObjectKey = (text: string): boolean => text.length <= MAX_KEY_LENGTH && SHAPE.test(text);

/** A key as the name of one file. `~` stands for `/`, and no key contains it. */
export const keyToFileName = (key: string): string => key.replaceAll('/', '~');

/** The key whose file has this name; undefined for a file that is none of relay's. */
export function fileNameToKey(name: string): string | undefined {
  const key = name.replaceAll('~', '/');
  return !name.includes('/') && isObjectKey(key) ? key : undefined;
}
