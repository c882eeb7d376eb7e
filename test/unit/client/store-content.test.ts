import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import type { ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { saveTo } from '../../../src/client/save.ts';
import { type DownloadOptions, downloadOffloaded, type StoreContent } from '../../../src/index.ts';
import { FarLine } from '../../support/far-line.ts';
import { digestOf, failureOf, makeBytes, readAll, type Seen, sendProblem, serve } from './stub-server.ts';

const bytes = makeBytes(1_000_000);
const ETAG = '"object-1"';

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'relay-store-'));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

/** Answers as a store does: ranges, and `If-Match` on the object's entity tag. */
function sendObject({ headers }: Seen, response: ServerResponse, etag = ETAG): void {
  if (headers['if-match'] !== undefined && headers['if-match'] !== etag) {
    response.writeHead(412).end('<Error><Message>At least one precondition failed</Message></Error>');
    return;
  }
  const range = readRange(headers.range);
  response.setHeader('ETag', etag);
  if (range === undefined) {
    response.writeHead(200, { 'Content-Length': bytes.length }).end(bytes);
    return;
  }
  const [start, end] = range;
  response.writeHead(206, {
    'Content-Range': `bytes ${start}-${end - 1}/${bytes.length}`,
    'Content-Length': end - start,
  });
  response.end(bytes.subarray(start, end));
}

function readRange(field: string | undefined): [number, number] | undefined {
  const match = /^bytes=(\d+)-(\d*)$/.exec(field ?? '');
  return match === null ? undefined : [Number(match[1]), match[2] === '' ? bytes.length : Number(match[2]) + 1];
}

/** Whether a request only finds out how far the store is. */
const isQuestion = ({ headers }: Seen): boolean => headers.range === 'bytes=0-0';

function contentOf(url: string, options: DownloadOptions = {}): StoreContent {
  const answer = {
    status: 'success',
    download_url: `${url}/object`,
    size: bytes.length,
    digest: digestOf(bytes),
    last_modified: '2026-01-31T12:00:00Z',
  } as const;
  return downloadOffloaded(answer, { largeBytes: 500_000, partBytes: 100_000, ...options });
}

const save = (content: StoreContent): Promise<unknown> => saveTo(join(directory, 'out'), content);

async function expectSaved(content: StoreContent): Promise<void> {
  expect(await save(content)).toEqual({ size: bytes.length, digest: digestOf(bytes), verified: true });
  expect((await readFile(join(directory, 'out'))).equals(bytes)).toBe(true);
  expect(await readdir(directory)).toEqual(['out']);
}

describe('a large object', () => {
  test('is fetched in parallel parts, all of one object', async () => {
    let requests = 0;
    const held: (() => void)[] = [];
    await using store = await serve((request, response) => {
      if (isQuestion(request)) return sendObject(request, response);
      requests += 1;
      if (requests > 4 || requests === 1) return sendObject(request, response);
      // The first of the others is answered once all four are there.
      held.push(() => sendObject(request, response));
      if (requests === 4) for (const answer of held.toReversed()) answer();
    });
    await expectSaved(contentOf(store.url));
    const [first, ...others] = store.seen.filter((request) => !isQuestion(request));
    expect(others).toHaveLength(9);
    expect(first?.headers).not.toHaveProperty('if-match');
    for (const { headers } of others) expect(headers['if-match']).toBe(ETAG);
  });

  test('is fetched in more of them from a store that is far, and no more than were allowed', async () => {
    await using store = await serve(sendObject);
    for (const [parallel, least, most] of [
      [undefined, 5, 16],
      [2, 2, 2],
    ] as const) {
      await using line = await FarLine.to(store.url, 25);
      await expectSaved(contentOf(line.url, { parallel, partBytes: 70_000 }));
      expect(line.mostFetching).toBeGreaterThanOrEqual(least);
      // That of a question may bring a part later.
      expect(line.mostFetching).toBeLessThanOrEqual(most + 1);
      await rm(join(directory, 'out'));
    }
  });

  test('has the last part divided among the connections that are done, from a store that is far', async () => {
    const LAST = 900_000;
    let sendRest: (() => void) | undefined;
    const within: string[] = [];
    await using store = await serve((request, response) => {
      const [start] = readRange(request.headers.range) ?? [0];
      if (start === LAST) {
        // It comes slowly, and goes on once somebody else has asked for some of it.
        const range = `bytes ${start}-${bytes.length - 1}/${bytes.length}`;
        response.writeHead(206, { ETag: ETAG, 'Content-Range': range, 'Content-Length': bytes.length - start });
        response.write(bytes.subarray(start, start + 10_000));
        sendRest = () => response.end(bytes.subarray(start + 10_000));
        return;
      }
      sendObject(request, response);
      if (start < LAST) return;
      within.push(request.headers.range ?? '');
      sendRest?.();
    });
    await using line = await FarLine.to(store.url, 25);
    await expectSaved(contentOf(line.url));
    // Half of what was left of it then, which is all or all but its beginning.
    const [from, to] = readRange(within[0]) ?? [];
    expect([from, to]).toEqual([expect.any(Number), bytes.length]);
    expect(from).toBeGreaterThanOrEqual(950_000);
    expect(from).toBeLessThanOrEqual(955_000);
  });

  test('goes on with each part where it broke off, and asks for no byte twice', async () => {
    let broken = 0;
    await using store = await serve((request, response) => {
      const [start, end] = readRange(request.headers.range) ?? [0, 0];
      if (end - start === 100_000 && broken < 4) {
        broken += 1;
        response.writeHead(206, {
          ETag: ETAG,
          'Content-Range': `bytes ${start}-${end - 1}/${bytes.length}`,
          'Content-Length': end - start,
        });
        response.write(bytes.subarray(start, start + 30_000), () => response.socket?.resetAndDestroy());
      } else if (broken < 6) {
        broken += 1;
        response.writeHead(503).end('<Error><Message>Slow down</Message></Error>');
      } else {
        sendObject(request, response);
      }
    });
    await expectSaved(contentOf(store.url));
    const resumed = store.seen
      .map(({ headers }) => readRange(headers.range) ?? [0, 0])
      .filter(([start = 0]) => start % 100_000 > 0);
    expect(resumed.length).toBeGreaterThan(0);
  });

  test('is taken whole from a store without ranges', async () => {
    await using store = await serve((_, response) => {
      response.writeHead(200, { 'Content-Length': bytes.length }).end(bytes);
    });
    await expectSaved(contentOf(store.url));
    expect(store.seen).toHaveLength(1);
  });

  test('is one object or none: a replaced one is refused', async () => {
    let requests = 0;
    await using store = await serve((request, response) => {
      requests += 1;
      sendObject(request, response, requests > 3 ? '"object-2"' : ETAG);
    });
    const error = await failureOf(save(contentOf(store.url)));
    expect(error).toMatchObject({ code: 'content_mismatch', retryable: true });
    expect(await readdir(directory)).toEqual([]);
  });

  test('is refused where a later part is answered with the whole', async () => {
    let requests = 0;
    await using store = await serve((request, response) => {
      requests += 1;
      if (requests === 1) sendObject(request, response);
      else response.writeHead(200, { ETag: ETAG, 'Content-Length': bytes.length }).end(bytes);
    });
    expect(await failureOf(save(contentOf(store.url)))).toMatchObject({ code: 'content_mismatch' });
    expect(await readdir(directory)).toEqual([]);
  });

  test('goes on under one fresh URL when all parts meet the end of the old one', async () => {
    let requests = 0;
    let renewals = 0;
    await using store = await serve((request, response) => {
      requests += 1;
      if (request.url === '/object' && requests > 1) sendProblem(response, 403, 'url_expired', { retryable: true });
      else sendObject(request, response);
    });
    const renew = (): Promise<string> => {
      renewals += 1;
      return Promise.resolve(`${store.url}/fresh`);
    };
    await expectSaved(contentOf(store.url, { renew }));
    expect(renewals).toBe(1);
  });

  test('leaves no temporary file when the signal fires', async () => {
    const stop = new AbortController();
    await using store = await serve((request, response) => {
      if (request.headers.range?.startsWith('bytes=0-')) sendObject(request, response);
      else stop.abort(new Error('enough'));
    });
    const content = contentOf(store.url, { signal: stop.signal });
    expect((await failureOf(saveTo(join(directory, 'out'), content, { signal: stop.signal }))).message).toBe('enough');
    expect(await readdir(directory)).toEqual([]);
  });
});

describe('in order', () => {
  test('is one request, which goes on where it broke off', async () => {
    await using store = await serve((request, response) => {
      if (request.headers.range !== undefined) return sendObject(request, response);
      response.writeHead(200, { ETag: ETAG, 'Content-Length': bytes.length });
      response.write(bytes.subarray(0, 400_000), () => response.socket?.resetAndDestroy());
    });
    expect((await readAll(contentOf(store.url).body)).equals(bytes)).toBe(true);
    expect(store.seen).toHaveLength(2);
    expect(store.seen[1]?.headers).toMatchObject({ 'if-match': ETAG });
  });

  test('small objects are fetched so', async () => {
    await using store = await serve(sendObject);
    await expectSaved(contentOf(store.url, { largeBytes: 2_000_000 }));
    expect(store.seen.map(({ headers }) => headers.range)).toEqual([undefined]);
  });

  test('an empty object, and one of a size that nobody told', async () => {
    await using store = await serve(({ url }, response) => {
      response.end(url === '/empty' ? '' : 'abc');
    });
    const download = (path: string, size?: number): StoreContent =>
      downloadOffloaded({ status: 'success', download_url: store.url + path, ...(size !== undefined && { size }) });
    expect(await readAll(download('/empty', 0).body)).toHaveLength(0);
    expect(String(await readAll(download('/abc').body))).toBe('abc');
  });

  test('lets go of the store when it is cancelled', async () => {
    const closed = Promise.withResolvers<void>();
    await using store = await serve((_, response) => {
      response.on('close', closed.resolve);
      response.writeHead(200, { 'Content-Length': bytes.length }).write(bytes.subarray(0, 1000));
    });
    const reader = contentOf(store.url).body.getReader();
    await reader.read();
    await reader.cancel();
    await expect(closed.promise).resolves.toBeUndefined();
  });
});

describe('what the store refuses', () => {
  test.each([
    [403, 'url_expired'],
    [404, 'request_gone'],
    [400, 'store_unavailable'],
  ])('%d fails at once', async (status, code) => {
    await using store = await serve((_, response) => {
      response.writeHead(status).end('<Error><Code>X</Code><Message>Request has expired</Message></Error>');
    });
    const error = await failureOf(readAll(contentOf(store.url).body));
    expect(error).toMatchObject({ code });
    expect(error.message).toContain('Request has expired');
    expect(store.seen).toHaveLength(1);
  });

  test('a fresh URL that is refused too is the end of it', async () => {
    await using store = await serve((_, response) => sendProblem(response, 403, 'url_expired'));
    const renew = (): Promise<string> => Promise.resolve(`${store.url}/fresh`);
    expect(await failureOf(readAll(contentOf(store.url, { renew }).body))).toMatchObject({ code: 'url_expired' });
    expect(store.seen).toHaveLength(2);
  });

  test('a store that cannot be reached is tried a few times', async () => {
    let url: string;
    {
      await using gone = await serve(() => undefined);
      ({ url } = gone);
    }
    const failure = failureOf(readAll(contentOf(url, { maxFailures: 1 }).body));
    expect(await failure).toMatchObject({ code: 'store_unavailable', retryable: true });
  });
});
