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

  test('of a dataset that is too recent is waited for within the time for that, when it will be old enough', async () => {
    const young = (seconds: number): [ErrorCode, ErrorDetails] => ['dataset_too_recent', { retry_after: seconds }];
    expect(await run([young(20)])).toEqual({ attempts: 1, pauses: [], outcome: 'dataset_too_recent' });
    expect(await run([young(20)], { waitMs: 19_000 })).toMatchObject({ attempts: 1, outcome: 'dataset_too_recent' });
    expect(await run([young(20)], { waitMs: 30_000, retries: 0 })).toEqual({
      attempts: 2,
      pauses: [20_000],
      outcome: 'done',
    });
    // It was written to meanwhile.
    expect(await run([young(20), young(20)], { waitMs: 30_000 })).toMatchObject({
      attempts: 2,
      outcome: 'dataset_too_recent',
    });
    // An hour is no ten minutes, which is the most that a router is believed.
    expect(await run([young(3600)], { waitMs: 1_800_000 })).toMatchObject({ attempts: 1 });
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

describe('a router that cannot be reached', () => {
  const away = Array.from({ length: 100 }, (): [ErrorCode] => ['router_unreachable']);
  const total = (pauses: readonly number[]): number => pauses.reduce((sum, ms) => sum + ms, 0);

  test('is asked for a minute, however few retries there are, since it may restart', async () => {
    const { pauses, outcome } = await run(away, { retries: 1 });
    expect(outcome).toBe('router_unreachable');
    expect(total(pauses)).toBeCloseTo(60_000);
    expect(Math.max(...pauses)).toBeLessThanOrEqual(5000);
    expect(await run(away.slice(0, 12))).toMatchObject({ attempts: 13, outcome: 'done' });
  });

  test('is asked for a quarter of that where nobody was there from the first', async () => {
    const refused = Object.assign(new Error('connect'), { code: 'ECONNREFUSED' });
    const fail = (before: RelayError[]): Promise<number> => {
      let time = 0;
      const failures = [...before];
      const attempt = (): Promise<never> =>
        Promise.reject(failures.shift() ?? new RelayError('router_unreachable', 'no answer', { cause: refused }));
      const pause = (ms: number): Promise<void> => Promise.resolve(void (time += ms));
      const options = { retries: 3, waitMs: 0, signal: new AbortController().signal, now: () => time, pause };
      return withRetries(attempt, options).catch(() => time);
    };
    expect(await fail([])).toBeCloseTo(15_000);
    expect(await fail([new RelayError('draining')])).toBeGreaterThan(60_000);
  });

  test('does not use up the retries of what a router answers', async () => {
    const failures: [ErrorCode][] = [['draining'], ['draining'], ...away.slice(0, 10), ['overloaded']];
    expect(await run(failures)).toMatchObject({ attempts: 14, outcome: 'done' });
    expect(await run([...failures, ['overloaded']])).toMatchObject({ outcome: 'overloaded' });
  });

  test('is given the minute from when it went, not from the beginning', async () => {
    let time = 0;
    const pause = (ms: number): Promise<void> => Promise.resolve(void (time += ms));
    const failures: [ErrorCode, ErrorDetails?][] = [['draining', { retry_after: 500 }], ...away];
    await run(failures, { now: () => time, pause });
    expect(time).toBeCloseTo(560_000);
  });

  test('is asked as often as there are retries where each takes long to fail', async () => {
    let time = 0;
    const pauses: number[] = [];
    const work = withRetries(
      () => {
        time += 100_000;
        return Promise.reject(new RelayError('router_unreachable'));
      },
      {
        retries: 3,
        waitMs: 0,
        signal: new AbortController().signal,
        now: () => time,
        pause: (ms) => Promise.resolve(void pauses.push(ms)),
      },
    );
    expect(await failureOf(work)).toMatchObject({ code: 'router_unreachable' });
    expect(pauses.length).toBeGreaterThanOrEqual(3);
  });

  test('is waited for longer where that is asked for, and not at all without retries', async () => {
    expect(total((await run(away, { waitMs: 120_000 })).pauses)).toBeCloseTo(120_000);
    expect(await run(away, { retries: 0 })).toMatchObject({ attempts: 1, outcome: 'router_unreachable' });
  });

  test('is told with the time that is left', async () => {
    const told: unknown[] = [];
    const onRetry: RetryOptions['onRetry'] = (_error, _delayMs, retry, leftMs) => told.push([retry, leftMs]);
    await run(away.slice(0, 1), { onRetry });
    expect(told).toEqual([[undefined, 60_000]]);
  });

  test('is final where asking again cannot help', async () => {
    expect(await run([['router_unreachable', { retryable: false }]])).toMatchObject({ attempts: 1 });
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
