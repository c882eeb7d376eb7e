import { resolve } from 'node:path';
import { RelayError } from '../protocol/errors.ts';

/** Where pattern C puts objects, as `--store` names it. */
export type StoreLocation =
  | { readonly kind: 'file'; readonly directory: string }
  | { readonly kind: 's3'; readonly bucket: string; readonly prefix: string }
  | { readonly kind: 'none' };

const BUCKET = /^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/;
const PREFIX = /^[A-Za-z0-9!_.*'()-]+(?:\/[A-Za-z0-9!_.*'()-]+)*$/;

/**
 * Reads the value of `--store`: `file:DIR`, `s3://BUCKET[/PREFIX]` or `none`.
 * @returns the location, the directory absolute, the prefix without slashes at its ends (`''` for none).
 * @throws {RelayError} usage when it is none of these, and says what is wrong.
 */
export function parseStoreLocation(text: string): StoreLocation {
  if (text === 'none') return { kind: 'none' };
  if (text.startsWith('file:')) return parseFile(text.slice('file:'.length));
  if (text.startsWith('s3://')) return parseS3(text.slice('s3://'.length));
  throw usage(`${JSON.stringify(text)} is neither file:DIR nor s3://BUCKET[/PREFIX] nor none`);
}

function parseFile(directory: string): StoreLocation {
  if (directory === '') throw usage('file: needs a directory, as in file:/var/lib/relay/store');
  if (directory.includes('\0')) throw usage('the directory contains a NUL');
  return { kind: 'file', directory: resolve(directory) };
}

function parseS3(rest: string): StoreLocation {
  const [bucket = '', ...parts] = rest.split('/');
  if (!BUCKET.test(bucket) || bucket.includes('..')) {
    throw usage(`${JSON.stringify(bucket)} is not the name of a bucket (3 to 63 lower-case letters, digits, . and -)`);
  }
  const prefix = parts.join('/').replace(/\/$/, '');
  if (prefix !== '' && (!PREFIX.test(prefix) || prefix.split('/').some((part) => part === '.' || part === '..'))) {
    throw usage(`${JSON.stringify(prefix)} is not a prefix (letters, digits and !_.*'()- between single slashes)`);
  }
  return { kind: 's3', bucket, prefix };
}

function usage(message: string): RelayError {
  return new RelayError('usage', `--store: ${message}`);
}
