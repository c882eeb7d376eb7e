import { RelayError } from '../protocol/errors.ts';

const FULL = new Set(['ENOSPC', 'EDQUOT', 'EFBIG']);

/**
 * What the file system threw, as an error of the store: `store_full` where there is no space, else `store_unavailable`.
 * The message has the system's code only: paths of the router are nobody else's business.
 */
export function fromFileError(thrown: unknown): RelayError {
  if (thrown instanceof RelayError) return thrown;
  const code = errorCode(thrown);
  if (code === undefined) return RelayError.from(thrown);
  if (FULL.has(code)) return new RelayError('store_full', `the store has no space left (${code})`, { cause: thrown });
  return new RelayError('store_unavailable', `the store's directory cannot be used (${code})`, { cause: thrown });
}

/** Whether the file system said that there is no such file. */
export const isMissing = (thrown: unknown): boolean => errorCode(thrown) === 'ENOENT';

function errorCode(thrown: unknown): string | undefined {
  const { code } = Object(thrown) as { code?: unknown };
  return typeof code === 'string' && /^E[A-Z0-9]+$/.test(code) ? code : undefined;
}
