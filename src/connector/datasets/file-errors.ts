import { RelayError } from '../../protocol/errors.ts';

const NOT_THERE: ReadonlySet<string> = new Set([
  'ENOENT',
  'ENOTDIR',
  'ELOOP',
  'ENAMETOOLONG',
  'EISDIR',
  'ENXIO',
  'EINVAL',
  'ERR_INVALID_ARG_VALUE',
]);
/** Windows says EBUSY where another program has the file open for itself alone, and EPERM where rights are missing. */
const REFUSED: ReadonlySet<string> = new Set(['EACCES', 'EPERM', 'EBUSY']);
const NO_RESOURCES: ReadonlySet<string> = new Set(['EMFILE', 'ENFILE', 'ENOMEM', 'ENOBUFS']);

/** The code of a system error; empty for any other. */
export function systemCode(error: unknown): string {
  const code = error instanceof RelayError ? '' : (error as NodeJS.ErrnoException | undefined)?.code;
  return typeof code === 'string' ? code : '';
}

/** Whether the error says that there is no such file, rather than that it could not be looked at. */
export const isNotThere = (error: unknown): boolean => NOT_THERE.has(systemCode(error));

/** Whether the system refuses what is there: to this user, or because another program keeps it to itself. */
export const isRefused = (error: unknown): boolean => REFUSED.has(systemCode(error));

/** One answer for all that is not offered, whatever the reason, so that nothing can be told apart from outside. */
export const notFound = (name: string): RelayError =>
  new RelayError('dataset_not_found', `the connector offers no dataset ${JSON.stringify(name)}`);

/** What a system error on the way to a dataset means to the one who asked. */
export function toDatasetError(name: string, error: unknown): RelayError {
  if (error instanceof RelayError) return error;
  if (isNotThere(error)) return notFound(name);
  const code = systemCode(error);
  if (NO_RESOURCES.has(code)) {
    return new RelayError('overloaded', `the connector has too many files open (${code})`, { cause: error });
  }
  if (code === '') throw error;
  const why = code === 'EBUSY' ? 'another program has it open for itself alone, EBUSY' : code;
  const message = `the connector cannot read the dataset ${JSON.stringify(name)} (${why})`;
  return new RelayError('dataset_unreadable', message, { cause: error });
}
