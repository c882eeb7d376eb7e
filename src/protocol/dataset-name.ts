import { RelayError } from './errors.ts';
import { MAX_DATASET_NAME_BYTES } from './limits.ts';

declare const brand: unique symbol;

/** A dataset's path relative to the data directory: UTF-8, `/` between the parts, none of them empty, `.` or `..`. */
export type DatasetName = string & { readonly [brand]: 'DatasetName' };

/**
 * Checks a dataset name. What it lets pass cannot climb out of a directory by its spelling; links in the file system are
 * the connector's concern.
 * @returns the name as it was, or `invalid_request` that says what is wrong with it.
 */
export function parseDatasetName(name: string): DatasetName | RelayError {
  const problem = findProblem(name);
  return problem === undefined ? (name as DatasetName) : new RelayError('invalid_request', `dataset name: ${problem}`);
}

/** Checks the beginning of names up to a slash, which is its last character. */
export function parseDirectoryName(name: string): string | RelayError {
  if (!name.endsWith('/')) return new RelayError('invalid_request', 'directory name: it has no / at its end');
  const problem = findProblem(name.slice(0, -1));
  return problem === undefined ? name : new RelayError('invalid_request', `directory name: ${problem}`);
}

function findProblem(name: string): string | undefined {
  if (name === '') return 'it is empty';
  if (!name.isWellFormed()) return 'it is not valid Unicode';
  if (name.length > MAX_DATASET_NAME_BYTES || new TextEncoder().encode(name).length > MAX_DATASET_NAME_BYTES) {
    return `it is longer than ${MAX_DATASET_NAME_BYTES} bytes`;
  }
  if (name.includes('\0')) return 'it contains a NUL';
  if (name.startsWith('/')) return 'it must be relative to the data directory, without a leading /';
  for (const part of name.split('/')) {
    if (part === '') return 'a part between slashes is empty';
    if (part === '.' || part === '..') return `the part ${JSON.stringify(part)} is not allowed`;
  }
  return undefined;
}

/** The name as it stands in a URL path: each part percent-encoded, the slashes kept (RFC 3986 §3.3). */
export function encodeDatasetPath(name: string): string {
  return name.split('/').map(encodeURIComponent).join('/');
}

/**
 * What a name must have in it to be the NFC of some other spelling: anything beyond ASCII, and the three ASCII characters
 * that are the NFC of one beyond it.
 */
export const mayBeSpeltOtherwise = (text: string): boolean => /[K;`\u0080-\uffff]/.test(text.normalize('NFC'));
