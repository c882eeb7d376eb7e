import { afterEach, beforeEach, describe, expect, jest, test } from '@jest/globals';
import { RelayError } from '../../../src/protocol/errors.ts';
import { RequestLog, type RequestRecord, type UrlHolder } from '../../../src/router/request-log.ts';
import { DATASET, MAC } from './fakes.ts';

const MINUTE_MS = 60_000;
const NEVER = new AbortController().signal;

const holder = (baseUrl: string): UrlHolder => ({ baseUrl, until: undefined });

let ended: RequestRecord[];
let log: RequestLog;

const open = (id: string, keep = false): RequestRecord =>
  log.open({ id, kind: 'stream', mac: MAC, dataset: DATASET, keep });

beforeEach(() => {
  ended = [];
  log = new RequestLog((record) => ended.push(record));
});

afterEach(() => {
  jest.useRealTimers();
});

describe('a request', () => {
  test('goes from waiting to running to done, and is told of once', async () => {
    const record = open('a');
    expect(log.find('a')).toBe(record);
    expect(await record.describe(holder('http://r'))).toEqual({
      request_id: 'a',
      state: 'waiting',
      bytes_done: 0,
      total_size: null,
      etag: null,
      digest: null,
    });
    record.run();
    expect(record.state).toBe('running');
    expect(record.ended).toBe(false);
    record.succeed();
    record.succeed();
    record.fail(new RelayError('internal'));
    record.cancel('too late');
    record.run();
    expect(record).toMatchObject({ state: 'done', ended: true, error: undefined });
    expect(ended).toEqual([record]);
  });

  test('that failed says why, and which it was', async () => {
    const record = open('a');
    record.fail(new RelayError('dataset_not_found', 'gone'));
    record.succeed();
    expect(record.state).toBe('failed');
    expect(await record.describe(holder(''))).toMatchObject({
      state: 'failed',
      error: { code: 'dataset_not_found', detail: 'gone', request_id: 'a', status: 404 },
    });
  });

  test('that is cancelled stops its work once', () => {
    const record = open('a');
    const stopped: RelayError[] = [];
    // As the patterns do: their exchange fails, and with it the record.
    record.onAbort((error) => {
      stopped.push(error);
      record.fail(error);
    });
    record.cancel('enough');
    record.cancel('enough');
    expect(record.state).toBe('cancelled');
    expect(stopped).toHaveLength(1);
    expect(stopped[0]).toMatchObject({ code: 'cancelled', message: 'enough', details: { request_id: 'a' } });
    expect(ended).toEqual([record]);
  });

  test('that is cancelled before there is work to stop is over as well', () => {
    const record = open('a');
    record.cancel('enough');
    expect(record.state).toBe('cancelled');
  });

  test('shows how far it is whenever it is asked, and lets go of what it asked once it is over', async () => {
    const record = open('a');
    let asked = 0;
    record.progress = () => ({ bytesDone: ++asked, totalSize: 10, etag: '"e"', lastModified: '2026-01-01T00:00:00Z' });
    expect(await record.describe(holder(''))).toMatchObject({ bytes_done: 1, total_size: 10, etag: '"e"' });
    expect(await record.describe(holder(''))).toMatchObject({ bytes_done: 2, last_modified: '2026-01-01T00:00:00Z' });
    record.succeed();
    expect(await record.describe(holder(''))).toMatchObject({ bytes_done: 3 });
    expect(await record.describe(holder(''))).toMatchObject({ bytes_done: 3 });
    expect(asked).toBe(3);
  });

  test('that is done gives a URL made for the one who asks, and none before', async () => {
    const record = open('a', true);
    record.signUrl = async ({ baseUrl }) => ({ url: `${baseUrl}/x`, expiresAt: new Date(0) });
    expect(await record.describe(holder('http://r'))).not.toHaveProperty('download_url');
    record.succeed();
    expect(await record.describe(holder('http://r'))).toMatchObject({
      download_url: 'http://r/x',
      expires_at: '1970-01-01T00:00:00.000Z',
    });
    record.signUrl = async ({ baseUrl }) => ({ url: `${baseUrl}/y`, expiresAt: undefined });
    const described = await record.describe(holder('http://s'));
    expect(described.download_url).toBe('http://s/y');
    expect(described).not.toHaveProperty('expires_at');
  });
});

describe('waiting for the end of a request', () => {
  test('is over with the request, for all who wait', async () => {
    const warnings: Error[] = [];
    const warned = (warning: Error): void => void warnings.push(warning);
    process.on('warning', warned);
    const record = open('a');
    const waiting = Array.from({ length: 20 }, () => record.whenEnded(60_000, NEVER));
    record.succeed();
    await Promise.all(waiting);
    await record.whenEnded(60_000, NEVER);
    // Warnings come in a later turn of the event loop.
    await new Promise((resolve) => setImmediate(resolve));
    process.off('warning', warned);
    expect(warnings).toEqual([]);
  });

  test('is over after its time', async () => {
    const record = open('a');
    await record.whenEnded(1, NEVER);
    expect(record.ended).toBe(false);
  });

  test('is over when the one who waits is gone, or was gone already', async () => {
    const record = open('a');
    const gone = new AbortController();
    const waiting = record.whenEnded(60_000, gone.signal);
    gone.abort();
    await waiting;
    await record.whenEnded(60_000, gone.signal);
    expect(record.ended).toBe(false);
  });
});

describe('the log of requests', () => {
  test('keeps a request that its app comes back for ten minutes after its end', () => {
    jest.useFakeTimers();
    const record = open('a', true);
    jest.advanceTimersByTime(60 * MINUTE_MS);
    expect(log.find('a')).toBe(record);
    record.succeed();
    jest.advanceTimersByTime(10 * MINUTE_MS - 1);
    expect(log.find('a')).toBe(record);
    jest.advanceTimersByTime(1);
    expect(log.find('a')).toBeUndefined();
  });

  test('keeps the last 10,000 of the others, and all that run', () => {
    const running = open('running');
    for (let n = 0; n < 30_000; n++) open(`n${n}`).succeed();
    // The others go in one piece, so that there may be more for a while.
    expect(log.find('n9999')).toBeUndefined();
    expect(log.find('n20000')).toBeDefined();
    expect(log.find('n29999')).toBeDefined();
    expect(log.find('running')).toBe(running);
  });

  test('does not let the many push out those that are kept', () => {
    const kept = open('kept', true);
    kept.succeed();
    for (let n = 0; n < 30_000; n++) open(`n${n}`).succeed();
    expect(log.find('kept')).toBe(kept);
  });

  test('knows no id that it did not open', () => {
    expect(log.find('x')).toBeUndefined();
    expect(log.find('__proto__')).toBeUndefined();
  });
});
