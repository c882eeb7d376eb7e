import { dirname } from 'node:path';
import { RelayError } from '../protocol/errors.ts';
import { describe } from './transport.ts';

const REASONS: Readonly<Record<string, (path: string) => string>> = {
  ENOSPC: () => 'no space is left there',
  EDQUOT: () => 'the quota of this user is used up',
  EFBIG: () => 'the file would be larger than what is allowed there',
  EACCES: () => 'permission is denied',
  EPERM: () => 'it is not permitted',
  EROFS: () => 'the file system is read-only',
  ENOENT: (path) => `the directory ${JSON.stringify(dirname(path))} does not exist`,
  ENOTDIR: (path) => `${JSON.stringify(dirname(path))} is no directory`,
  EISDIR: () => 'it is a directory; name a file in it',
  ENAMETOOLONG: () => 'the name is too long',
  ELOOP: () => 'too many symbolic links lead to it',
  EPIPE: () => 'whoever was reading it has gone',
};

/** An error of the file system on the way to `path`, as output_failed with words for people. */
export function outputError(cause: unknown, path: string): RelayError {
  if (cause instanceof RelayError) return cause;
  const reason = REASONS[(cause as NodeJS.ErrnoException).code ?? '']?.(path) ?? describe(cause);
  return new RelayError('output_failed', `cannot write ${JSON.stringify(path)}: ${reason}`, { cause });
}
