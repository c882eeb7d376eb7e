import { once } from 'node:events';
import { utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { Connector } from '../../../src/connector/connector.ts';
import { silentLogger } from '../../../src/observability/logger.ts';
import type { Mac } from '../../../src/protocol/mac.ts';
import { type AppAnswer, call, speak } from '../../support/plain-app.ts';
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

  test('has no part when it is empty', async () => {
    const answer = await get({ Range: 'bytes=0-' }, 'empty.bin');
    expect([answer.status, answer.headers['content-range']]).toEqual([416, 'bytes */0']);
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
    expect([post.status, post.headers.allow]).toEqual([405, 'HEAD, GET']);
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
