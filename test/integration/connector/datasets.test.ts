import { once } from 'node:events';
import { utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { Connector } from '../../../src/connector/connector.ts';
import { silentLogger } from '../../../src/observability/logger.ts';
import type { Mac } from '../../../src/protocol/mac.ts';
import { type AppAnswer, ask, call, speak } from '../../support/plain-app.ts';
import { MAC, PlainConnector } from '../../support/plain-connector.ts';
import { makeTempDir, startRouter } from '../../support/router.ts';

const TEXT = 'abcdefghijklmnopqrstuvwxyz';
const resources = new AsyncDisposableStack();
let url: string;
let dataDir: string;
let etag: string;
let modified: string;

beforeAll(async () => {
  ({ url } = resources.use(await startRouter()));
  dataDir = resources.use(await makeTempDir()).path;
  await writeFile(join(dataDir, 'a.csv'), TEXT);
  await utimes(join(dataDir, 'a.csv'), 1_700_000_000, 1_700_000_000.5);
  await writeFile(join(dataDir, 'empty.bin'), '');
  await writeFile(join(dataDir, 'page one.html'), '<script>');
  const connector = new Connector({
    routerUrl: new URL(url),
    mac: MAC as Mac,
    dataDir,
    version: '0.0.0-test',
    logger: silentLogger(),
  });
  void connector.run();
  resources.defer(() => connector.close());
  await once(connector, 'online');
  const { headers } = await get();
  etag = headers.etag as string;
  modified = headers['last-modified'] as string;
});
afterAll(() => resources.disposeAsync());

const get = (headers: Record<string, string> = {}, name = 'a.csv', method = 'GET'): Promise<AppAnswer> =>
  call(url, method, `/connectors/${MAC}/datasets/${name}`, headers);
const sum = ({ status, bytes, headers }: AppAnswer): unknown[] => [status, bytes.toString(), headers['content-range']];

describe('a dataset as a resource', () => {
  test('is there with its length, type and validators', async () => {
    const answer = await get();
    expect([answer.status, answer.bytes.toString()]).toEqual([200, TEXT]);
    expect(answer.headers).toMatchObject({
      'content-length': '26',
      'content-type': 'text/csv',
      'accept-ranges': 'bytes',
      etag: expect.stringMatching(/^"[^"]+"$/),
      'last-modified': new Date(1_700_000_000_000).toUTCString(),
      'x-content-type-options': 'nosniff',
      'relay-request-id': expect.any(String),
    });
    const head = await get({}, 'a.csv', 'HEAD');
    for (const name of ['content-length', 'content-type', 'accept-ranges', 'etag', 'last-modified'])
      expect([name, head.headers[name]]).toEqual([name, answer.headers[name]]);
    expect(head.bytes).toHaveLength(0);
  });

  test('may be empty, and is never a page of the router', async () => {
    expect((await get({}, 'empty.bin')).headers['content-length']).toBe('0');
    const page = await get({}, 'page%20one.html');
    expect(page.headers['content-disposition']).toMatch(/^attachment; filename="page one.html"/);
    expect((await get({}, 'page%20one.html', 'HEAD')).headers['content-disposition']).toMatch(/^attachment/);
  });

  test.each([
    ['bytes=0-0', 206, 'a', 'bytes 0-0/26'],
    ['bytes=3-5', 206, 'def', 'bytes 3-5/26'],
    ['bytes=24-', 206, 'yz', 'bytes 24-25/26'],
    ['bytes=0-', 206, TEXT, 'bytes 0-25/26'],
    ['bytes=20-1000', 206, 'uvwxyz', 'bytes 20-25/26'],
    ['bytes=-3', 206, 'xyz', 'bytes 23-25/26'],
    ['bytes=-1000', 206, TEXT, 'bytes 0-25/26'],
    ['bytes=5-3', 200, TEXT, undefined],
    ['bytes=0-1,3-4', 200, TEXT, undefined],
    ['lines=0-1', 200, TEXT, undefined],
    ['bytes=x', 200, TEXT, undefined],
  ])('answers Range %s with %i', async (range, status, text, contentRange) => {
    const answer = await get({ Range: range });
    expect(sum(answer)).toEqual([status, text, contentRange]);
    expect(answer.headers['content-length']).toBe(String(text.length));
    expect(answer.headers.etag).toBe(etag);
  });

  test.each(['bytes=26-', 'bytes=26-30', 'bytes=9007199254740990-', 'bytes=-0'])(
    'answers Range %s, which lies outside, with 416',
    async (range) => {
      const answer = await get({ Range: range });
      expect([answer.status, answer.headers['content-range']]).toEqual([416, 'bytes */26']);
      expect(answer.json()).toMatchObject({ code: 'range_not_satisfiable', size: 26 });
    },
  );

  test('keeps its answers where they can be asked about, and tells what they depend on', async () => {
    for (const method of ['GET', 'HEAD']) {
      const { headers } = await get({}, 'a.csv', method);
      expect(headers).toMatchObject({ 'cache-control': 'no-cache', vary: 'Accept-Encoding' });
      const known = await get({ 'If-None-Match': etag }, 'a.csv', method);
      expect(known.status).toBe(304);
      expect(known.headers).toMatchObject({ 'cache-control': 'no-cache', vary: 'Accept-Encoding', etag });
      expect(known.headers).not.toHaveProperty('content-length');
      expect(known.headers).not.toHaveProperty('content-type');
    }
  });

  test('is a download under the name that is asked for', async () => {
    const disposition = async (query: string, method: string): Promise<unknown> =>
      (await get({}, `a.csv${query}`, method)).headers['content-disposition'];
    for (const method of ['GET', 'HEAD']) {
      expect(await disposition('?download', method)).toBe(`attachment; filename="a.csv"; filename*=UTF-8''a.csv`);
      expect(await disposition('?download=M%C3%A4rz%201.csv', method)).toBe(
        `attachment; filename="M_rz 1.csv"; filename*=UTF-8''M%C3%A4rz%201.csv`,
      );
      for (const name of ['..', '.', 'b/..', 'b/', '%E2%80%AE'])
        expect(await disposition(`?download=${name}`, method)).toMatch(/filename="a\.csv"/);
      expect(await disposition('?nonsense=1&x', method)).toBeUndefined();
    }
    const part = await get({ Range: 'bytes=0-1' }, 'a.csv?download=..%2Fb%0D%0A.csv');
    expect([part.status, part.headers['content-disposition']]).toEqual([
      206,
      `attachment; filename="b__.csv"; filename*=UTF-8''b__.csv`,
    ]);
  });

  test('tells its digest to HEAD once somebody has had it computed', async () => {
    await writeFile(join(dataDir, 'digest.csv'), TEXT);
    const head = async (): Promise<AppAnswer> => get({ 'Want-Repr-Digest': 'sha-256=1' }, 'digest.csv', 'HEAD');
    const before = await head();
    expect([before.status, before.headers['repr-digest']]).toEqual([200, undefined]);
    const whole = await get({ 'Want-Repr-Digest': 'sha-256=1' }, 'digest.csv');
    const digest = { ...whole.headers, ...whole.trailers }['repr-digest'];
    expect((await head()).headers['repr-digest']).toBe(digest);
    expect((await get({}, 'digest.csv', 'HEAD')).headers).not.toHaveProperty('repr-digest');
  });

  test('takes dates in each of their formats', async () => {
    for (const date of ['Tuesday, 14-Nov-23 22:13:20 GMT', 'Tue Nov 14 22:13:20 2023']) {
      expect((await get({ 'If-Modified-Since': date })).status).toBe(304);
      expect((await get({ 'If-Unmodified-Since': date })).status).toBe(200);
      expect((await get({ Range: 'bytes=0-1', 'If-Range': date })).status).toBe(206);
    }
  });

  test('that changed just now is told from another of the same second by its tag only', async () => {
    await writeFile(join(dataDir, 'fresh.csv'), TEXT);
    const { headers } = await get({}, 'fresh.csv', 'HEAD');
    const askIf = (ifRange: unknown): Promise<AppAnswer> =>
      get({ Range: 'bytes=0-1', 'If-Range': String(ifRange) }, 'fresh.csv');
    expect((await askIf(headers['last-modified'])).status).toBe(200);
    expect((await askIf(headers.etag)).status).toBe(206);
  });

  test('never claims to be from the future', async () => {
    await writeFile(join(dataDir, 'future.csv'), TEXT);
    await utimes(join(dataDir, 'future.csv'), 4_000_000_000, 4_000_000_000);
    for (const method of ['GET', 'HEAD']) {
      const { headers } = await get({}, 'future.csv', method);
      expect(Date.parse(headers['last-modified'] ?? '')).toBeLessThanOrEqual(Date.parse(headers.date ?? ''));
    }
  });

  test('has no part when it is empty', async () => {
    const answer = await get({ Range: 'bytes=0-' }, 'empty.bin');
    expect([answer.status, answer.headers['content-range']]).toEqual([416, 'bytes */0']);
    expect(sum(await get({ Range: 'bytes=-1' }, 'empty.bin'))).toEqual([200, '', undefined]);
  });

  test('ignores a range in HEAD', async () => {
    const answer = await get({ Range: 'bytes=0-0' }, 'a.csv', 'HEAD');
    expect([answer.status, answer.headers['content-length']]).toEqual([200, '26']);
  });

  test('holds to If-Match', async () => {
    expect((await get({ 'If-Match': etag, Range: 'bytes=1-2' })).bytes.toString()).toBe('bc');
    expect((await get({ 'If-Match': `"x", ${etag}` })).status).toBe(200);
    expect((await get({ 'If-Match': '*' })).status).toBe(200);
    for (const tags of ['"x"', '"x", "y"', `W/${etag}`, 'nonsense']) {
      for (const method of ['GET', 'HEAD']) {
        const answer = await get({ 'If-Match': tags, Range: 'bytes=1-2' }, 'a.csv', method);
        expect([tags, method, answer.status]).toEqual([tags, method, 412]);
      }
    }
  });

  test('is not sent again to who has it', async () => {
    for (const method of ['GET', 'HEAD']) {
      for (const condition of [
        { 'If-None-Match': etag },
        { 'If-None-Match': `"x", W/${etag}` },
        { 'If-None-Match': '*' },
        { 'If-Modified-Since': modified },
        { 'If-None-Match': etag, 'If-Modified-Since': new Date(0).toUTCString() },
      ]) {
        const answer = await get({ ...condition, Range: 'bytes=0-1' }, 'a.csv', method);
        expect([condition, answer.status, answer.bytes.length]).toEqual([condition, 304, 0]);
        expect(answer.headers).toMatchObject({ etag, 'last-modified': modified });
      }
    }
  });

  test('is sent to who has another one', async () => {
    for (const condition of [
      { 'If-None-Match': '"x"' },
      { 'If-Modified-Since': new Date(0).toUTCString() },
      { 'If-Modified-Since': 'some time' },
      { 'If-None-Match': '"x"', 'If-Modified-Since': modified },
      { 'If-Unmodified-Since': modified },
    ])
      expect((await get(condition)).status).toBe(200);
    expect((await get({ 'If-Unmodified-Since': new Date(0).toUTCString() })).status).toBe(412);
    expect((await get({ 'If-Unmodified-Since': new Date(0).toUTCString(), 'If-Match': etag })).status).toBe(200);
  });

  test('lets a range count only if the condition on it holds', async () => {
    for (const holds of [etag, modified]) {
      expect(sum(await get({ Range: 'bytes=0-1', 'If-Range': holds }))).toEqual([206, 'ab', 'bytes 0-1/26']);
    }
    for (const fails of ['"x"', `W/${etag}`, new Date(0).toUTCString(), 'nonsense']) {
      expect(sum(await get({ Range: 'bytes=0-1', 'If-Range': fails }))).toEqual([200, TEXT, undefined]);
    }
  });

  test('is found or not as anywhere else', async () => {
    expect((await get({}, 'nothing.csv')).status).toBe(404);
    expect((await get({}, '..%2fa.csv')).status).toBe(400);
    const post = await get({}, 'a.csv', 'PUT');
    expect([post.status, post.headers.allow]).toEqual([405, 'GET, HEAD, OPTIONS']);
    const options = await get({}, 'a.csv', 'OPTIONS');
    expect([options.status, options.headers.allow, options.bytes.length]).toEqual([204, 'GET, HEAD, OPTIONS', 0]);
  });

  test('comes with its digest where that is wanted, but not for a part', async () => {
    const whole = await get({ 'Want-Repr-Digest': 'sha-256=1' });
    expect({ ...whole.headers, ...whole.trailers }['repr-digest']).toMatch(/^sha-256=:/);
    const part = await get({ 'Want-Repr-Digest': 'sha-256=1', Range: 'bytes=0-1' });
    expect([part.status, part.bytes.toString(), part.headers['content-length']]).toEqual([206, 'ab', '2']);
  });

  test('goes to HTTP/1.0 clients, parts as well', async () => {
    const { text } = await speak(url, `GET /connectors/${MAC}/datasets/a.csv HTTP/1.0\r\nRange: bytes=1-2\r\n\r\n`);
    expect(text).toMatch(/^HTTP\/1\.1 206 /);
    expect(text).toMatch(/\r\n\r\nbc$/);
  });
});

describe.each(['sync', 'stream'])('?via=%s', (via) => {
  test('brings the same as without it', async () => {
    const [as, plain] = [await get({}, `a.csv?via=${via}`), await get()];
    expect(sum(as)).toEqual([200, TEXT, undefined]);
    for (const name of ['content-type', 'content-length', 'etag', 'last-modified', 'accept-ranges', 'cache-control'])
      expect([name, as.headers[name]]).toEqual([name, plain.headers[name]]);
    expect((await get({ Accept: 'application/json' }, `a.csv?via=${via}`)).bytes.toString()).toBe(TEXT);
  });

  test.each([
    ['bytes=3-5', 206, 'def', 'bytes 3-5/26'],
    ['bytes=-3', 206, 'xyz', 'bytes 23-25/26'],
    ['bytes=24-', 206, 'yz', 'bytes 24-25/26'],
    ['bytes=0-1,3-4', 200, TEXT, undefined],
  ])('honours Range %s', async (range, status, text, contentRange) => {
    expect(sum(await get({ Range: range }, `a.csv?via=${via}`))).toEqual([status, text, contentRange]);
    expect((await get({ Range: 'bytes=26-' }, `a.csv?via=${via}`)).status).toBe(416);
  });

  test('honours conditions', async () => {
    expect((await get({ 'If-None-Match': etag }, `a.csv?via=${via}`)).status).toBe(304);
    expect((await get({ 'If-Match': '"x"' }, `a.csv?via=${via}`)).status).toBe(412);
    expect((await get({ 'If-Match': `"x", ${etag}` }, `a.csv?via=${via}`)).status).toBe(200);
  });

  test('answers HEAD as ever', async () => {
    const head = await get({}, `a.csv?via=${via}`, 'HEAD');
    expect([head.status, head.headers['content-length'], head.headers.etag]).toEqual([200, '26', etag]);
  });
});

describe('?via=offload', () => {
  test('leads to the store, which has parts of its own', async () => {
    const own = await get({}, 'a.csv?via=offload&download=..');
    expect(new URL(String(own.headers.location)).searchParams.get('filename')).toBe('a.csv');
    const answer = await get({ Range: 'bytes=1-2' }, 'a.csv?via=offload&download=b.csv');
    expect([answer.status, answer.headers['cache-control'], answer.bytes.length]).toEqual([307, 'no-store', 0]);
    const { pathname, search } = new URL(String(answer.headers.location));
    const stored = await call(url, 'GET', pathname + search, { Range: 'bytes=1-2' });
    expect(sum(stored)).toEqual([206, 'bc', 'bytes 1-2/26']);
    expect(stored.headers['content-disposition']).toMatch(/filename="b\.csv"/);
  });

  test.each(['bytes=-0', 'bytes=26-', 'bytes=1-2'])(
    'leaves the range %s to the store, whatever the conditions',
    async (range) => {
      for (const headers of [{}, { 'If-None-Match': '"x"' }, { 'If-Match': etag }, { 'If-Range': '"x"' }])
        expect((await get({ Range: range, ...headers }, 'a.csv?via=offload')).status).toBe(307);
    },
  );

  test('answers HEAD and conditions by itself', async () => {
    const head = await get({}, 'a.csv?via=offload', 'HEAD');
    expect([head.status, head.headers['content-length'], head.headers.etag]).toEqual([200, '26', etag]);
    expect((await get({ 'If-None-Match': etag }, 'a.csv?via=offload')).status).toBe(304);
    expect((await get({ 'If-Match': '"x"' }, 'a.csv?via=offload')).status).toBe(412);
    expect((await get({ 'If-Match': etag }, 'a.csv?via=offload')).status).toBe(307);
    expect((await get({}, 'nothing.csv?via=offload')).status).toBe(404);
  });

  test('may be waited for elsewhere', async () => {
    const answer = await get({ Prefer: 'respond-async' }, 'a.csv?via=offload');
    expect(answer.status).toBe(202);
    const { pathname } = new URL(String(answer.headers.location));
    const status = (await call(url, 'GET', `${pathname}?wait=10`)).json();
    expect(status).toMatchObject({ state: 'done', download_url: expect.any(String) });
  });
});

test.each(['', 'STREAM', 'x'])('?via=%s is refused', async (via) => {
  for (const method of ['GET', 'HEAD']) expect((await get({}, `a.csv?via=${via}`, method)).status).toBe(400);
});

describe('a request by POST', () => {
  const post = (pattern: string, headers: Record<string, string>): Promise<AppAnswer> =>
    ask(url, `/datasets/request-${pattern}`, { mac: MAC, dataset: 'a.csv' }, headers).answer;

  test.each(['sync', 'stream', 'offload', 'digest'])(
    'request-%s holds to If-Match, and to nothing else',
    async (pattern) => {
      for (const tags of ['"x"', '"x,y", "z"', `W/${etag}`, 'nonsense']) {
        const answer = await post(pattern, { 'If-Match': tags });
        expect([tags, answer.status]).toEqual([tags, 412]);
        expect(answer.json()).toMatchObject({ code: 'precondition_failed' });
      }
      for (const tags of [etag, `"x", ${etag}`, '*'])
        expect([tags, (await post(pattern, { 'If-Match': tags })).status]).toEqual([tags, 200]);
      const others = {
        'If-None-Match': etag,
        'If-Modified-Since': modified,
        'If-Unmodified-Since': new Date(0).toUTCString(),
        Range: 'bytes=0-0',
      };
      const answer = await post(pattern, others);
      expect(answer.status).toBe(200);
      if (pattern === 'stream') expect(answer.bytes.toString()).toBe(TEXT);
    },
  );
});

describe('through a connector that knows only plain JSON', () => {
  test('is sent whole, and says that it has no parts', async () => {
    await using router = await startRouter();
    await using node = await PlainConnector.connect(router.url);
    const asked = call(router.url, 'GET', `/connectors/${MAC}/datasets/a.csv`, { Range: 'bytes=1-2' });
    const { request_id, ...command } = await node.next();
    expect(command).toEqual({ command: 'get_dataset_stream', dataset_name: 'a.csv' });
    await node.post('/datasets/result', { request_id, data: 'abc' });
    const answer = await asked;
    expect(sum(answer)).toEqual([200, 'abc', undefined]);
    expect(answer.headers['accept-ranges']).toBe('none');
  });
});

describe('a part that is not what was asked for', () => {
  test('ends the request', async () => {
    await using router = await startRouter();
    await using node = await PlainConnector.connect(router.url, { capabilities: 'binary, offset, range' });
    const begin = async (): Promise<{ id: string; answer: Promise<AppAnswer> }> => {
      const answer = call(router.url, 'GET', `/connectors/${MAC}/datasets/a.csv`, { Range: 'bytes=2-3' });
      const { request_id, offset, length } = await node.next();
      expect([offset, length]).toEqual([2, 2]);
      return { id: request_id, answer };
    };
    const whole = await begin();
    expect((await node.post('/datasets/result', { request_id: whole.id, data: 'abcdef' })).status).toBe(502);
    expect((await whole.answer).status).toBe(502);
    const long = await begin();
    await node.post('/datasets/stream/init', { request_id: long.id, total_size: 6, etag: '"x"' });
    const more = await node.post('/datasets/stream/chunk', { request_id: long.id, offset: 2, data: 'cde' });
    expect(more.status).toBe(502);
    const sizeless = await begin();
    expect((await node.post('/datasets/stream/init', { request_id: sizeless.id })).status).toBe(502);
    expect((await sizeless.answer).status).toBe(502);
    const right = await begin();
    await node.post('/datasets/stream/init', { request_id: right.id, total_size: 6, etag: '"x"' });
    await node.post('/datasets/stream/chunk', { request_id: right.id, offset: 2, data: 'cd' });
    await node.post('/datasets/stream/complete', { request_id: right.id, total_size: 6 });
    expect(sum(await right.answer)).toEqual([206, 'cd', 'bytes 2-3/6']);
  });
});
