import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { fromProblem, renderProblem, toProblem } from '../../../src/http/problem.ts';
import { type ErrorCode, type ErrorDetails, ERRORS, RelayError } from '../../../src/protocol/errors.ts';
import { count, requestId, timestamp } from '../protocol/arbitraries.ts';

const codes = fc.constantFrom(...(Object.keys(ERRORS) as ErrorCode[]));
const details: fc.Arbitrary<ErrorDetails> = fc.record(
  {
    retryable: fc.boolean(),
    request_id: requestId,
    retry_after: fc.nat(),
    last_seen: fc.option(timestamp),
    next_offset: count,
    size: count,
    limit: count,
  },
  { requiredKeys: [] },
);

describe('a problem document', () => {
  test('has the members of RFC 9457 and those of relay', () => {
    const error = new RelayError('dataset_too_large', 'too large for this', { details: { size: 5, limit: 3 } });
    expect(toProblem(error.with({ request_id: 'a' }))).toEqual({
      type: 'about:blank',
      title: ERRORS.dataset_too_large.title,
      status: 413,
      detail: 'too large for this',
      code: 'dataset_too_large',
      retryable: false,
      size: 5,
      limit: 3,
      request_id: 'a',
    });
  });

  test('brings code, words, facts and whether to retry to the other side', () => {
    fc.assert(
      fc.property(codes, fc.string(), details, (code, message, facts) => {
        const sent = new RelayError(code, message, { details: facts });
        const body: unknown = JSON.parse(JSON.stringify(toProblem(sent)));
        const received = fromProblem(body) as RelayError;
        expect(received).toMatchObject({ code, retryable: sent.retryable, exitCode: sent.exitCode });
        expect(received.details).toEqual({ ...facts, retryable: sent.retryable });
        expect(received.message).toBe(code === 'internal' ? ERRORS.internal.title : message);
        expect(toProblem(received)).toEqual(body);
      }),
    );
  });

  test('says nothing of the insides of a defect', () => {
    const error = RelayError.from(new Error('connect ECONNREFUSED 10.0.0.1 as admin:secret'));
    expect(JSON.stringify(toProblem(error))).not.toContain('secret');
    const worded = new RelayError('internal', 'the secret is 42');
    expect(JSON.stringify(toProblem(worded))).not.toContain('secret');
  });

  test('leaves out what is not known', () => {
    expect(
      toProblem(new RelayError('draining', 'x', { details: { size: undefined } as unknown as ErrorDetails })),
    ).not.toHaveProperty('size');
  });

  test('of an app, which should never have travelled, is a defect to the outside', () => {
    expect(toProblem(new RelayError('usage')).status).toBe(500);
  });
});

describe('what is no problem document of relay', () => {
  test.each([
    ['nothing', undefined],
    ['null', null],
    ['a text', 'Bad Gateway'],
    ['a list', []],
    ['a problem of somebody else', { type: 'about:blank', status: 502, title: 'Bad Gateway' }],
    ['an unknown code', { code: 'no_such_code', retryable: true }],
    ['a code that every object has', { code: 'constructor', retryable: true }],
    ['a code without retryable', { code: 'draining' }],
    ['a size that is no size', { code: 'draining', retryable: true, size: -1 }],
  ])('gives no error: %s', (_what, body) => {
    expect(fromProblem(body)).toBeUndefined();
  });

  test('never throws', () => {
    fc.assert(
      fc.property(fc.oneof(fc.anything({ withNullPrototype: true }), fc.jsonValue()), (body) => {
        const error = fromProblem(body);
        expect(error === undefined || error instanceof RelayError).toBe(true);
      }),
    );
  });

  test('is told from one with members that nobody knows yet', () => {
    expect(
      fromProblem({ code: 'draining', retryable: true, detail: 'x', instance: '/y', extra: { z: 1 } }),
    ).toMatchObject({
      code: 'draining',
      details: { retryable: true },
    });
  });
});

describe('an error is answered', () => {
  const error = new RelayError('connector_failed', 'it said "no\n\u2028\u001b[31mway"', {
    details: { request_id: 'a' },
  });

  test('with a problem document to programs', () => {
    for (const accept of [undefined, '*/*', 'application/json']) {
      const { type, text } = renderProblem(error, accept);
      expect([type, JSON.parse(text)]).toEqual(['application/problem+json', toProblem(error)]);
    }
  });

  test('with one line to people', () => {
    expect(renderProblem(error, 'text/html,application/xhtml+xml,*/*;q=0.8')).toEqual({
      type: 'text/plain; charset=utf-8',
      text: 'it said "no [31mway" (connector_failed, request a)\n',
    });
    expect(renderProblem(new RelayError('internal', 'secret'), 'text/plain').text).toBe(
      `${ERRORS.internal.title} (internal)\n`,
    );
  });
});
