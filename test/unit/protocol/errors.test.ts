import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { decodeJson, unwrap } from '../../../src/protocol/codec.ts';
import { encodeFailure, readFailure, result } from '../../../src/protocol/answers.ts';
import { ERRORS, type ErrorCode, EXIT, isErrorCode, RelayError } from '../../../src/protocol/errors.ts';
import { fromConnector } from '../../../src/protocol/failures.ts';
import { wildText } from './arbitraries.ts';

const CODES = Object.keys(ERRORS) as ErrorCode[];

/** What the public documents promise of each code that travels: HTTP status, exit code, and whether to ask again. */
const PROMISED: [ErrorCode, number, number, boolean][] = [
  ['invalid_request', 400, 2, false],
  ['unauthorized', 401, 6, false],
  ['forbidden', 403, 6, false],
  ['connector_not_found', 404, 3, false],
  ['dataset_not_found', 404, 3, false],
  ['not_found', 404, 3, false],
  ['method_not_allowed', 405, 1, false],
  ['dataset_changed', 409, 7, true],
  ['offset_mismatch', 409, 1, false],
  ['request_gone', 410, 1, false],
  ['cancelled', 410, 1, false],
  ['precondition_failed', 412, 7, false],
  ['dataset_too_large', 413, 10, false],
  ['range_not_satisfiable', 416, 1, false],
  ['upgrade_required', 426, 1, false],
  ['too_many_requests', 429, 8, true],
  ['internal', 500, 1, false],
  ['offload_unavailable', 501, 10, false],
  ['not_supported', 501, 10, false],
  ['connector_failed', 502, 1, true],
  ['dataset_unreadable', 502, 1, false],
  ['connector_offline', 503, 4, true],
  ['dataset_too_recent', 503, 8, true],
  ['data_dir_unavailable', 503, 8, true],
  ['store_unavailable', 503, 8, true],
  ['overloaded', 503, 8, true],
  ['draining', 503, 8, true],
  ['request_timeout', 504, 5, true],
  ['http_version_not_supported', 505, 10, false],
  ['store_full', 507, 10, false],
  ['url_expired', 403, 8, true],
];

describe('the table of errors', () => {
  test.each(PROMISED)('%s is HTTP %i, exit %i, retryable: %p', (code, status, exitCode, retryable) => {
    expect(new RelayError(code)).toMatchObject({ code, status, exitCode, retryable });
  });

  test('lists every code that travels', () => {
    const travelling = CODES.filter((code) => ERRORS[code].status !== null);
    expect(PROMISED.map(([code]) => code).toSorted()).toEqual(travelling.toSorted());
  });

  test.each(CODES)('%s has an error status or none, a known exit code, and words of its own', (code) => {
    const { status, exitCode, title } = ERRORS[code];
    if (status !== null) expect(status >= 400 && status < 600).toBe(true);
    expect(Object.values(EXIT)).toContain(exitCode);
    expect(exitCode).not.toBe(EXIT.ok);
    expect(title).toMatch(/^[A-Z].*[^.]$/);
  });

  test('gives no two codes the same words', () => {
    expect(new Set(CODES.map((code) => ERRORS[code].title)).size).toBe(CODES.length);
  });

  test('has no code but its own, also not those of every object', () => {
    for (const code of CODES) expect(isErrorCode(code)).toBe(true);
    for (const other of ['constructor', '__proto__', 'toString', '', 'Internal', 5, null, undefined, {}])
      expect(isErrorCode(other)).toBe(false);
  });
});

describe('a RelayError', () => {
  test('says the title of its code where it is given no words', () => {
    expect(new RelayError('draining').message).toBe(ERRORS.draining.title);
  });

  test('has a cause only where it was given one', () => {
    expect('cause' in new RelayError('draining')).toBe(false);
    expect('cause' in new RelayError('draining').with({ size: 1 })).toBe(false);
    expect(new RelayError('draining', 'x', { cause: 5 }).with({ size: 1 }).cause).toBe(5);
  });

  test('with more facts is the same error, and the first one is as it was', () => {
    const first = new RelayError('dataset_too_large', 'words', { details: { size: 5, limit: 3 } });
    const second = first.with({ request_id: 'a', size: 6 });
    expect(second).toMatchObject({
      code: 'dataset_too_large',
      message: 'words',
      details: { size: 6, limit: 3, request_id: 'a' },
    });
    expect(first.details).toEqual({ size: 5, limit: 3 });
  });

  test('may answer otherwise than its code whether asking again helps', () => {
    expect(new RelayError('connector_offline', 'x', { details: { retryable: false } }).retryable).toBe(false);
    const restarted = new RelayError('request_gone', 'x', { details: { retryable: true } });
    expect(restarted).toMatchObject({ retryable: true, exitCode: EXIT.tryAgain, status: 410 });
  });
});

describe('what was thrown', () => {
  test('stays what it is when it is a RelayError', () => {
    const error = new RelayError('draining');
    expect(RelayError.from(error)).toBe(error);
    expect(RelayError.from(error, 'store_full')).toBe(error);
  });

  test('becomes a RelayError, whatever it is, with itself as the cause', () => {
    fc.assert(
      fc.property(fc.anything({ withNullPrototype: true }), fc.constantFrom(...CODES), (thrown, code) => {
        const error = RelayError.from(thrown, code);
        expect(error.code).toBe(code);
        expect(Object.is(error.cause, thrown)).toBe(true);
      }),
    );
  });

  test.each([
    Object.create(null),
    Symbol('s'),
    { toString: null, valueOf: null },
    {
      toString() {
        throw new Error('no words');
      },
    },
  ])('becomes a RelayError even when it cannot be made a text', (thrown: unknown) => {
    expect(RelayError.from(thrown, 'store_unavailable')).toMatchObject({ code: 'store_unavailable', cause: thrown });
  });

  test('keeps its words, except where it is a defect', () => {
    expect(RelayError.from(new Error('ENOSPC'), 'store_full').message).toContain('ENOSPC');
    expect(RelayError.from(new TypeError(''), 'store_full').message).toContain('TypeError');
    expect(RelayError.from(new Error('secret')).message).toBe(ERRORS.internal.title);
  });
});

describe('a failure that a connector reports', () => {
  test.each([
    'cancelled',
    'data_dir_unavailable',
    'dataset_changed',
    'dataset_not_found',
    'dataset_too_large',
    'dataset_unreadable',
    'draining',
    'not_supported',
    'overloaded',
    'precondition_failed',
    'store_full',
    'store_unavailable',
  ])('keeps the code %s', (code) => {
    expect(fromConnector(code, 'words')).toMatchObject({ code, message: 'words' });
  });

  test.each([
    'unauthorized',
    'forbidden',
    'internal',
    'connector_offline',
    'request_gone',
    'usage',
    'EIO',
    '',
    '__proto__',
  ])('with the code %p is connector_failed, which says so', (code) => {
    const error = fromConnector(code, 'words');
    expect(error.code).toBe('connector_failed');
    expect(error.message).toContain(JSON.stringify(code));
    expect(error.message).toContain('words');
  });

  test('is never anything that a connector may not say', () => {
    fc.assert(
      fc.property(fc.oneof(wildText, fc.constantFrom(...CODES)), wildText, (code, message) => {
        const error = fromConnector(code, message);
        expect(['connector_failed', code]).toContain(error.code);
        expect(error.status).not.toBe(401);
        expect(ERRORS[error.code].status).not.toBeNull();
      }),
    );
  });

  test('says what its code means where it has no words', () => {
    expect(fromConnector('dataset_not_found', '').message).toBe(ERRORS.dataset_not_found.title);
  });

  test('is the same after it travelled as a result', () => {
    const error = new RelayError('dataset_too_large', 'too large', { details: { size: 5 } });
    const decoded = unwrap(decodeJson(result, encodeFailure('a', error)));
    expect(decoded.request_id).toBe('a');
    expect(readFailure(decoded)).toMatchObject({
      code: 'dataset_too_large',
      message: 'too large',
      details: { size: 5 },
    });
  });

  test('travels whatever words it has', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), fc.constantFrom(1, 100, 1000), (text, times) => {
        const message = text.repeat(times);
        const decoded = unwrap(decodeJson(result, encodeFailure('a', new RelayError('dataset_unreadable', message))));
        expect(readFailure(decoded)?.code).toBe('dataset_unreadable');
      }),
    );
  });

  test('is absent from a result that is none', () => {
    expect(readFailure({ request_id: 'a', encoding: 'utf8' })).toBeUndefined();
  });
});
