import { describe, expect, test } from '@jest/globals';
import { type RetryOptions, withRetries } from '../../../src/client/retry.ts';
import { type ErrorCode, type ErrorDetails, RelayError } from '../../../src/protocol/errors.ts';
import { failureOf } from './stub-server.ts';

interface Run {
  readonly attempts: number;
  readonly pauses: readonly number[];
  readonly outcome: string;
}

/** Runs with attempts that fail as told and then succeed, on a clock that only pauses move. */
async function run(failures: [ErrorCode, ErrorDetails?][], options: Partial<RetryOptions> = {}): Promise<Run> {
  let attempts = 0;
  let time = 0;
  const pauses: number[] = [];
  const work = withRetries(
    () => {
      const [code, details] = failures[attempts] ?? [];
      attempts += 1;
      return code === undefined
        ? Promise.resolve('done')
        : Promise.reject(new RelayError(code, code, details === undefined ? {} : { details }));
    },
    {
      retries: 3,
      waitMs: 0,
      signal: new AbortController().signal,
      now: () => time,
      pause: (ms) => {
        pauses.push(ms);
        time += ms;
        return Promise.resolve();
      },
      ...options,
    },
  );
  const outcome = await work.catch((error: RelayError) => error.code);
  return { attempts, pauses, outcome };
}

describe('a failure that may pass', () => {
  test('is met with further attempts, later and later', async () => {
    const { attempts, pauses, outcome } = await run([['overloaded'], ['draining'], ['transfer_interrupted']]);
    expect({ attempts, outcome }).toEqual({ attempts: 4, outcome: 'done' });
    for (const [index, ms] of pauses.entries()) {
      expect(ms).toBeGreaterThanOrEqual(500 * 2 ** index);
      expect(ms).toBeLessThanOrEqual(1000 * 2 ** index);
    }
  });

  test('is final after so many', async () => {
    expect(await run([['overloaded'], ['overloaded']], { retries: 1 })).toMatchObject({
      attempts: 2,
      outcome: 'overloaded',
    });
    expect(await run([['overloaded']], { retries: 0 })).toMatchObject({ attempts: 1, outcome: 'overloaded' });
  });

  test('is retried when the router says, within bounds', async () => {
    expect((await run([['overloaded', { retry_after: 7 }]])).pauses).toEqual([7000]);
    expect((await run([['overloaded', { retry_after: 3600 }]])).pauses).toEqual([600_000]);
    const unreachable: [ErrorCode, ErrorDetails] = ['router_unreachable', { retry_after: 7 }];
    expect((await run([unreachable], { waitMs: 60_000 })).pauses).toEqual([7000]);
  });

  test('is told with the number of the retry that follows', async () => {
    const told: unknown[] = [];
    const onRetry: RetryOptions['onRetry'] = ({ code }, _delayMs, retry) => told.push([code, retry]);
    await run([['overloaded'], ['connector_offline'], ['draining']], { waitMs: 60_000, onRetry });
    expect(told).toEqual([
      ['overloaded', 1],
      ['connector_offline', undefined],
      ['draining', 2],
    ]);
  });

  test('is final once bytes are out', async () => {
    expect(await run([['transfer_interrupted']], { mayRetry: () => false })).toMatchObject({ attempts: 1 });
  });
});

test('a failure that will not pass is final', async () => {
  expect(await run([['dataset_not_found']])).toMatchObject({ attempts: 1, outcome: 'dataset_not_found' });
  expect(await run([['overloaded', { retryable: false }]])).toMatchObject({ attempts: 1 });
});

describe('a connector that is offline', () => {
  test('is told at once without --wait', async () => {
    expect(await run([['connector_offline', { retry_after: 5 }]])).toMatchObject({ attempts: 1, pauses: [] });
  });

  test('is waited for, without using up the retries, for as long as was said and no longer', async () => {
    const offline = Array.from({ length: 20 }, (): [ErrorCode] => ['connector_offline']);
    expect(await run(offline.slice(0, 10), { waitMs: 600_000 })).toMatchObject({ attempts: 11, outcome: 'done' });
    const { pauses, outcome } = await run(offline, { waitMs: 10_000 });
    expect(outcome).toBe('connector_offline');
    expect(pauses.reduce((sum, ms) => sum + ms, 0)).toBeCloseTo(10_000);
  });

  test('is waited for also where it was never seen', async () => {
    expect(await run([['connector_offline', { retryable: false }]], { waitMs: 1000 })).toMatchObject({
      outcome: 'done',
    });
  });
});

test('an interruption ends the pause', async () => {
  const stop = new AbortController();
  const work = withRetries(() => Promise.reject(new RelayError('overloaded')), {
    retries: 3,
    waitMs: 0,
    signal: stop.signal,
    onRetry: () => stop.abort(new RelayError('interrupted')),
  });
  expect(await failureOf(work)).toMatchObject({ code: 'interrupted', exitCode: 130 });
});
