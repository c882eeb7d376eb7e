import { createHash, randomBytes } from 'node:crypto';
import { gunzipSync, zstdDecompressSync } from 'node:zlib';
import { describe, expect, test } from '@jest/globals';
import { ask, call, speak } from '../../support/plain-app.ts';
import { MAC, PlainConnector } from '../../support/plain-connector.ts';
import { startRouter } from '../../support/router.ts';

const STREAM = '/datasets/request-stream';
const SYNC = '/datasets/request-sync';
const DATASET = `/connectors/${MAC}/datasets/a.csv`;
const OCTETS = { Accept: 'application/octet-stream' };
const TEXT = Buffer.from(Array.from({ length: 40_000 }, (_, index) => `${index},21.5,ok\n`).join(''));
const DECODERS = { zstd: zstdDecompressSync, gzip: gunzipSync };
const DIGEST = `sha-256=:${createHash('sha256').update(TEXT).digest('base64')}:`;

/** Answers the next command with a whole dataset. */
async function answerNext(node: PlainConnector, content: Buffer, headers: object = {}): Promise<void> {
  const { request_id } = await node.next();
  await node.postBytes('/datasets/result', request_id, content, { 'Relay-Etag': '"v1"', ...headers });
}

describe.each(['zstd', 'gzip'] as const)('an app that takes %s', (coding) => {
  test.each([
    ['POST', STREAM],
    ['POST', SYNC],
    ['GET', DATASET],
  ] as const)('gets what %s %s brings coded, as another representation', async (method, path) => {
    await using router = await startRouter();
    await using node = await PlainConnector.connect(router.url, { capabilities: 'binary, offset, range' });
    const headers = { 'Accept-Encoding': coding, ...OCTETS };
    const answer =
      method === 'GET' ? call(router.url, 'GET', path, headers) : ask(router.url, path, undefined, headers).answer;
    await answerNext(node, TEXT);
    const got = await answer;
    expect(got).toMatchObject({ status: 200, error: undefined });
    expect(got.headers).toMatchObject({
      'content-encoding': coding,
      etag: `"v1-${coding}"`,
      vary: 'Accept-Encoding',
      'accept-ranges': 'none',
      'relay-total-size': String(TEXT.length),
    });
    expect(got.headers).not.toHaveProperty('content-length');
    expect(got.bytes.length).toBeLessThan(TEXT.length / 2);
    expect(DECODERS[coding](got.bytes).equals(TEXT)).toBe(true);
  });

  test('gets JSON of pattern A coded as well', async () => {
    await using router = await startRouter();
    await using node = await PlainConnector.connect(router.url);
    const { answer } = ask(router.url, SYNC, undefined, { 'Accept-Encoding': coding });
    await answerNext(node, TEXT);
    const { bytes, headers } = await answer;
    expect(headers).toMatchObject({ 'content-encoding': coding, 'content-type': 'application/json' });
    expect(JSON.parse(DECODERS[coding](bytes).toString())).toMatchObject({ data: TEXT.toString(), etag: '"v1"' });
  });

  test('gets the digest of the dataset with it, where that is what it asks for', async () => {
    await using router = await startRouter();
    await using node = await PlainConnector.connect(router.url, { capabilities: 'binary, offset, digest' });
    const headers = { 'Accept-Encoding': coding, 'Want-Unencoded-Digest': 'sha-256=1' };
    const { answer } = ask(router.url, STREAM, undefined, headers);
    const { request_id, want_digest } = await node.next();
    expect(want_digest).toBe(true);
    await node.postBytes('/datasets/stream/chunk', request_id, TEXT, {
      'Relay-Offset': 0,
      'Relay-Total-Size': TEXT.length,
    });
    await node.post('/datasets/stream/complete', { request_id, total_size: TEXT.length, digest: DIGEST });
    const got = await answer;
    expect(got.headers).toMatchObject({ 'content-encoding': coding, trailer: 'Unencoded-Digest' });
    expect(got.trailers).toMatchObject({ 'unencoded-digest': DIGEST });
    expect(DECODERS[coding](got.bytes).equals(TEXT)).toBe(true);
  });

  test('sees that what broke off is not whole', async () => {
    await using router = await startRouter();
    await using node = await PlainConnector.connect(router.url);
    const { answer, received } = ask(router.url, STREAM, undefined, { 'Accept-Encoding': coding });
    const { request_id } = await node.next();
    const size = { 'Relay-Total-Size': TEXT.length };
    const post = node.begin('/datasets/stream/chunk', request_id, { ...size, 'Content-Length': TEXT.length });
    post.request.write(TEXT.subarray(0, -1));
    await received(1000);
    post.request.destroy();
    expect((await answer).error).toBeDefined();
  });

  test('gets the bytes of a slow source as they come', async () => {
    await using router = await startRouter();
    await using node = await PlainConnector.connect(router.url);
    const { answer, received } = ask(router.url, STREAM, undefined, { 'Accept-Encoding': coding });
    const { request_id } = await node.next();
    const post = node.begin('/datasets/stream/chunk', request_id);
    post.request.write(TEXT.subarray(0, 2000));
    await received(100);
    post.request.end(TEXT.subarray(2000));
    await post.reply;
    await node.post('/datasets/stream/complete', { request_id, total_size: TEXT.length });
    expect(DECODERS[coding]((await answer).bytes).equals(TEXT)).toBe(true);
  });

  test('holds a copy of what was not modified, by the tag of either representation', async () => {
    await using router = await startRouter();
    await using node = await PlainConnector.connect(router.url, { capabilities: 'binary, offset, range, stat' });
    for (const tag of ['"v1"', `"v1-${coding}"`]) {
      const answer = call(router.url, 'GET', DATASET, { 'Accept-Encoding': coding, 'If-None-Match': tag });
      const { request_id } = await node.next();
      await node.post('/datasets/result', { request_id, dataset: { name: 'a.csv', size: TEXT.length, etag: '"v1"' } });
      expect(await answer).toMatchObject({ status: 304, headers: { etag: tag } });
    }
  });
});

describe('goes as it is', () => {
  test.each([
    ['to who takes no coding', TEXT, {}],
    ['to who wants no coding', TEXT, { 'Accept-Encoding': 'zstd;q=0, identity' }],
    ['to who takes others', TEXT, { 'Accept-Encoding': 'br, deflate' }],
    ['to who asks for a digest of what is sent', TEXT, { 'Accept-Encoding': 'zstd', 'Want-Repr-Digest': 'sha-256=1' }],
    ['what does not become smaller', randomBytes(100_000), { 'Accept-Encoding': 'zstd, gzip' }],
    ['what is small', TEXT.subarray(0, 500), { 'Accept-Encoding': 'zstd, gzip' }],
  ])('%s', async (_, content, headers) => {
    await using router = await startRouter();
    await using node = await PlainConnector.connect(router.url);
    for (const path of [STREAM, SYNC]) {
      const { answer } = ask(router.url, path, undefined, { ...OCTETS, ...headers });
      await answerNext(node, content);
      const got = await answer;
      expect(got.headers).not.toHaveProperty('content-encoding');
      expect(got.headers).toMatchObject({
        etag: '"v1"',
        vary: 'Accept-Encoding',
        'content-length': String(content.length),
      });
      expect(got.bytes.equals(content)).toBe(true);
    }
  });

  test('a part', async () => {
    await using router = await startRouter();
    await using node = await PlainConnector.connect(router.url, { capabilities: 'binary, offset, range' });
    const answer = call(router.url, 'GET', DATASET, { 'Accept-Encoding': 'zstd', Range: 'bytes=0-9999' });
    const { request_id } = await node.next();
    await node.postBytes('/datasets/stream/chunk', request_id, TEXT.subarray(0, 10_000), {
      'Relay-Offset': 0,
      'Relay-Total-Size': TEXT.length,
    });
    await node.post('/datasets/stream/complete', { request_id, total_size: TEXT.length });
    const got = await answer;
    expect([got.status, got.headers['content-encoding']]).toEqual([206, undefined]);
    expect(got.bytes.equals(TEXT.subarray(0, 10_000))).toBe(true);
  });

  test('to HTTP/1.0', async () => {
    await using router = await startRouter();
    await using node = await PlainConnector.connect(router.url);
    const body = JSON.stringify({ mac: MAC, dataset: 'a.csv' });
    const head = `POST ${STREAM} HTTP/1.0\r\nHost: 127.0.0.1\r\nAccept-Encoding: gzip\r\nContent-Type: application/json\r\n`;
    const answer = speak(router.url, `${head}Content-Length: ${body.length}\r\n\r\n${body}`);
    await answerNext(node, TEXT);
    expect(String(await answer).toLowerCase()).not.toContain('content-encoding');
  });
});
