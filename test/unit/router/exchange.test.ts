import { afterEach, beforeEach, describe, expect, jest, test } from '@jest/globals';
import type { Result } from '../../../src/protocol/answers.ts';
import { RelayError } from '../../../src/protocol/errors.ts';
import { Exchange, type ExchangeOptions } from '../../../src/router/exchange.ts';
import { exchangeOptions, FakeLink } from './fakes.ts';

const RESULT: Result = { request_id: 'a', encoding: 'utf8' };

let ended: Exchange[];

function begin(overrides: Partial<ExchangeOptions> = {}): { exchange: Exchange; errors: RelayError[] } {
  const options = exchangeOptions('a', overrides);
  return {
    exchange: new Exchange(options, { ended: (one) => ended.push(one), fellSilent: () => false }),
    errors: options.errors,
  };
}

beforeEach(() => {
  jest.useFakeTimers();
  ended = [];
});

afterEach(() => {
  const left = jest.getTimerCount();
  jest.useRealTimers();
  if (left > 0) throw new Error('something is left of the test');
});

describe('an exchange', () => {
  test('fails when its connector does not begin in time', () => {
    const { exchange, errors } = begin();
    exchange.markSent(new FakeLink());
    jest.advanceTimersByTime(999);
    expect(exchange.state).toBe('sent');
    jest.advanceTimersByTime(1);
    expect(errors).toMatchObject([
      { code: 'request_timeout', message: expect.stringContaining('1 s'), details: { request_id: 'a' } },
    ]);
    expect(ended).toEqual([exchange]);
  });

  test('fails when its connector falls silent after it began', () => {
    const { exchange, errors } = begin();
    exchange.markSent(new FakeLink());
    exchange.touch();
    expect(exchange.state).toBe('answering');
    jest.advanceTimersByTime(2999);
    exchange.touch();
    jest.advanceTimersByTime(2999);
    expect(errors).toEqual([]);
    jest.advanceTimersByTime(1);
    expect(errors).toMatchObject([{ code: 'request_timeout', message: expect.stringContaining('silent for 3 s') }]);
  });

  test('takes a few bytes for no sign of life, and a KiB of them for one', () => {
    const { exchange, errors } = begin();
    exchange.markSent(new FakeLink());
    exchange.noteBytes(1);
    expect(exchange.state).toBe('answering');
    jest.advanceTimersByTime(2999);
    exchange.noteBytes(1023);
    exchange.noteBytes(1);
    jest.advanceTimersByTime(2000);
    exchange.noteBytes(1023);
    jest.advanceTimersByTime(999);
    expect(errors).toEqual([]);
    jest.advanceTimersByTime(1);
    expect(errors).toMatchObject([{ code: 'request_timeout' }]);
  });

  test('does not count the silence of a connector whose app does not read', () => {
    const { exchange, errors } = begin();
    exchange.markSent(new FakeLink());
    exchange.touch();
    exchange.hold();
    jest.advanceTimersByTime(3_600_000);
    exchange.touch();
    jest.advanceTimersByTime(3_600_000);
    expect(errors).toEqual([]);
    exchange.release();
    jest.advanceTimersByTime(2999);
    expect(errors).toEqual([]);
    jest.advanceTimersByTime(1);
    expect(errors).toHaveLength(1);
  });

  test('does not begin to count while the app does not read', () => {
    const { exchange, errors } = begin();
    exchange.markSent(new FakeLink());
    exchange.hold();
    exchange.markAnswering();
    expect(jest.getTimerCount()).toBe(0);
    exchange.release();
    jest.advanceTimersByTime(3000);
    expect(errors).toHaveLength(1);
  });

  test('goes by silence again after a sign of life ended a shorter deadline', () => {
    const { exchange, errors } = begin();
    exchange.markSent(new FakeLink());
    exchange.touch();
    exchange.setDeadline(500, () => new RelayError('connector_failed', 'no link'));
    jest.advanceTimersByTime(499);
    exchange.touch();
    jest.advanceTimersByTime(2999);
    expect(errors).toEqual([]);
    jest.advanceTimersByTime(1);
    expect(errors).toMatchObject([{ code: 'request_timeout' }]);
  });

  test('ends once, and stays as it ended', () => {
    const { exchange, errors } = begin();
    exchange.markSent(new FakeLink());
    exchange.succeed();
    exchange.fail(new RelayError('internal'));
    exchange.failByConnector(new RelayError('internal'));
    exchange.succeed();
    exchange.touch();
    exchange.markAnswering();
    exchange.hold();
    exchange.release();
    exchange.setDeadline(1, () => new RelayError('internal'));
    expect(exchange).toMatchObject({ state: 'succeeded', ended: true, error: undefined, failedByConnector: false });
    expect(errors).toEqual([]);
    expect(ended).toEqual([exchange]);
  });

  test('is over before its pattern hears of the failure', () => {
    const seen: boolean[] = [];
    const { exchange } = begin({ answer: { fail: () => seen.push(exchange.ended) } });
    exchange.fail(new RelayError('draining'));
    exchange.fail(new RelayError('draining'));
    expect(seen).toEqual([true]);
    expect(exchange.error).toMatchObject({ code: 'draining', details: { request_id: 'a' } });
  });

  test('knows when its connector itself reported the failure', () => {
    const { exchange, errors } = begin();
    exchange.failByConnector(new RelayError('dataset_not_found'));
    expect(exchange.failedByConnector).toBe(true);
    expect(errors).toMatchObject([{ code: 'dataset_not_found' }]);
  });
});

describe('a JSON result', () => {
  test('is handed on once', async () => {
    const results: Result[] = [];
    const { exchange } = begin({ answer: { fail() {}, takeResult: (result) => void results.push(result) } });
    exchange.markSent(new FakeLink());
    await exchange.takeResult(RESULT);
    await exchange.takeResult({ ...RESULT, size: 5 });
    expect(results).toEqual([RESULT]);
    expect(exchange.state).toBe('answering');
    exchange.succeed();
  });

  test('is refused by a command that is answered with bytes, which goes on', async () => {
    const { exchange, errors } = begin();
    await expect(exchange.takeResult(RESULT)).rejects.toMatchObject({ code: 'invalid_request' });
    expect(exchange.ended).toBe(false);
    expect(errors).toEqual([]);
  });

  test.each([
    [new RelayError('invalid_request', 'no size'), 'invalid_request', 'connector_failed'],
    [new RelayError('store_full'), 'store_full', 'store_full'],
    [new TypeError('a defect'), 'internal', 'internal'],
  ])('that cannot be used ends the exchange: %s', async (thrown, forConnector, forApp) => {
    const errors: RelayError[] = [];
    const { exchange } = begin({
      answer: {
        fail: (error) => errors.push(error),
        takeResult: async () => {
          throw thrown;
        },
      },
    });
    exchange.markSent(new FakeLink());
    const error = RelayError.from(await exchange.takeResult(RESULT).catch((reason: unknown) => reason));
    expect(error.code).toBe(forConnector);
    expect(errors.map(({ code }) => code)).toEqual([forApp]);
  });
});
