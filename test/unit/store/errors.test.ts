import { describe, expect, it } from '@jest/globals';
import { RelayError } from '../../../src/protocol/errors.ts';
import { fromFileError } from '../../../src/store/file-store-errors.ts';
import { fromS3Error } from '../../../src/store/s3-errors.ts';

const fileError = (code: string) => Object.assign(new Error(`${code}: no, open '/secret/path'`), { code });
const s3Error = (name: string, status: number, message = '') =>
  Object.assign(new Error(message), { name, $metadata: { httpStatusCode: status } });

const codeOf = (thrown: unknown) => fromS3Error(thrown, 'http://store.example/b', []).code;

describe('errors of the file store', () => {
  it.each([
    ['ENOSPC', 'store_full'],
    ['EDQUOT', 'store_full'],
    ['EACCES', 'store_unavailable'],
    ['EIO', 'store_unavailable'],
    ['EMFILE', 'store_unavailable'],
    ['ERR_INVALID_STATE', 'internal'],
  ])('%s is %s', (thrown, code) => {
    const error = fromFileError(fileError(thrown));
    expect(error.code).toBe(code);
    expect(error.message).not.toContain('/secret/path');
  });

  it('lets what is known already pass', () => {
    const error = new RelayError('store_full');
    expect(fromFileError(error)).toBe(error);
    expect(fromFileError(undefined).code).toBe('internal');
  });
});

describe('errors of S3', () => {
  it('tells a full store from one that is not available', () => {
    expect(codeOf(s3Error('XMinioStorageFull', 507))).toBe('store_full');
    expect(codeOf(s3Error('Anything', 507))).toBe('store_full');
    expect(codeOf(s3Error('QuotaExceeded', 403))).toBe('store_full');
    expect(codeOf(s3Error('XMinioAdminBucketQuotaExceeded', 400))).toBe('store_full');
    expect(codeOf(s3Error('InternalError', 500))).toBe('store_unavailable');
    expect(codeOf(s3Error('SlowDown', 503))).toBe('store_unavailable');
    expect(codeOf(s3Error('CredentialsProviderError', 0))).toBe('store_unavailable');
    expect(codeOf('what')).toBe('store_unavailable');
    expect(codeOf(undefined)).toBe('store_unavailable');
  });

  it('names endpoint and cause, and masks secrets', () => {
    const error = fromS3Error(s3Error('AccessDenied', 403, 'not with k3y/secret'), 'http://store.example/b', [
      '',
      'k3y/secret',
    ]);
    expect(error.message).toBe(
      'the object store at http://store.example/b cannot be used (AccessDenied: not with ***, status 403)',
    );
    expect(fromS3Error(fileError('ECONNREFUSED'), 'http://store.example/b', []).message).toContain('ECONNREFUSED');
    expect(fromS3Error(s3Error('Unknown', 403, 'UnknownError'), 'http://store.example/b', []).message).toContain(
      '(access denied, status 403)',
    );
  });
});
