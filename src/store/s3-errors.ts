import { RelayError } from '../protocol/errors.ts';

const FULL_NAMES = new Set([
  'InsufficientStorage',
  'QuotaExceeded',
  'XMinioAdminBucketQuotaExceeded',
  'XMinioBackendDown.StorageFull',
  'XMinioStorageFull',
]);

/** What the SDK puts into its errors, as far as relay looks at it. */
interface SdkError {
  readonly name?: string;
  readonly message?: string;
  readonly code?: string;
  readonly Code?: string;
  readonly $metadata?: { readonly httpStatusCode?: number };
}

/** The name that S3 gave an error, such as `NoSuchUpload`. */
export function readErrorName(thrown: unknown): string {
  const { name, code, Code } = toSdkError(thrown);
  // Where the connection itself failed the system's code says more than `Error` or `TimeoutError`.
  return code ?? Code ?? name ?? 'Error';
}

/** The HTTP status of the store's answer; undefined where there was none. */
export const readStatus = (thrown: unknown): number | undefined => toSdkError(thrown).$metadata?.httpStatusCode;

/**
 * What the SDK threw, as an error of the store: `store_full` where it has no space or the quota is used up, else
 * `store_unavailable`. The message names the endpoint and the cause, with every secret masked.
 * @param endpoint of the store, for people.
 * @param secrets texts that the message must not contain.
 */
export function fromS3Error(thrown: unknown, endpoint: string, secrets: readonly string[]): RelayError {
  if (thrown instanceof RelayError) return thrown;
  const name = readErrorName(thrown);
  const isFull = readStatus(thrown) === 507 || FULL_NAMES.has(name);
  const reason = describe(thrown, name, secrets);
  return isFull
    ? new RelayError('store_full', `the object store at ${endpoint} has no space left (${reason})`, { cause: thrown })
    : new RelayError('store_unavailable', `the object store at ${endpoint} cannot be used (${reason})`, {
        cause: thrown,
      });
}

function describe(thrown: unknown, name: string, secrets: readonly string[]): string {
  const { message = '' } = toSdkError(thrown);
  // The answer to a HEAD has no body, and so nothing but its status.
  const spoken = name === 'Unknown' && readStatus(thrown) === 403 ? 'access denied' : name;
  const text = message === '' || message === name || message === 'UnknownError' ? spoken : `${name}: ${message}`;
  const status = readStatus(thrown);
  const full = status === undefined || text.includes(String(status)) ? text : `${text}, status ${status}`;
  return secrets.reduce((rest, secret) => (secret === '' ? rest : rest.replaceAll(secret, '***')), full);
}

function toSdkError(thrown: unknown): SdkError {
  return typeof thrown === 'object' && thrown !== null ? thrown : {};
}
