import { randomBytes } from 'node:crypto';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { describe, expect, test } from '@jest/globals';
import { ask } from '../../support/plain-app.ts';
import { PlainConnector } from '../../support/plain-connector.ts';
import { startRouter } from '../../support/router.ts';

const STREAM = '/datasets/request-stream';
const SYNC = '/datasets/request-sync';
const RESULT = '/datasets/result';
const CHUNK = '/datasets/stream/chunk';
const COMPLETE = '/datasets/stream/complete';
const OCTETS = { Accept: 'application/octet-stream' };

const CODERS = { zstd: zstdCompressSync, gzip: gzipSync } as const;
const CODINGS = ['zstd', 'gzip'] as const;
const TEXT = Buffer.from(Array.from({ length: 40_000 }, (_, index) => `${index},21.5,ok\n`).join(''));

/** Headers of a coded chunk. */
const coded = (coding: string, offset: number, more: object = {}): Record<string, string | number> => ({
  'Content-Encoding': coding,
  'Relay-Offset': offset,
  'Relay-Total-Size': TEXT.length,
  'Relay-Etag': '"v1"',
  ...more,
});

describe('a command', () => {
  test.each([
    ['binary, offset', undefined],
    ['binary, gzip', ['gzip']],
    ['binary, gzip, zstd', ['zstd', 'gzip']],
  ])('to a connector that said %s takes answers coded by %j', async (capabilities, expected) => {
    await using router = await startRouter();
    await using node = await PlainConnector.connect(router.url, { capabilities });
    for (const path of [STREAM, SYNC]) {
      const { request } = ask(router.url, path);
      expect((await node.next())['accept_encoding']).toEqual(expected);
      request.destroy();
    }
  });
});

describe.each(CODINGS)('a body coded by %s', (coding) => {
  const encode = CODERS[coding];

  test.each([STREAM, SYNC])('is passed on by %s as what it was, with its own size', async (path) => {
    await using router = await startRouter();
    await using node = await PlainConnector.connect(router.url, { capabilities: coding });
    const { answer } = ask(router.url, path, undefined, OCTETS);
    const { request_id } = await node.next();
    expect(await node.postBytes(RESULT, request_id, encode(TEXT), { 'Content-Encoding': coding })).toMatchObject({
      status: 200,
      body: { next_offset: TEXT.length },
    });
    const { bytes, headers } = await answer;
    expect(bytes.equals(TEXT)).toBe(true);
    expect(headers).not.toHaveProperty('content-encoding');
  });

  test('goes on where it was, in bytes before coding, after it broke off', async () => {
    await using router = await startRouter();
    await using node = await PlainConnector.connect(router.url, { capabilities: `${coding}, offset` });
    const { answer, received } = ask(router.url, STREAM);
    const { request_id } = await node.next();
    const first = node.begin(CHUNK, request_id, coded(coding, 0));
    first.request.write(encode(TEXT).subarray(0, -100));
    await received(100_000);
    first.request.destroy();
    // An empty chunk asks how far it is.
    const { body } = await node.postBytes(CHUNK, request_id, '', { 'Relay-Offset': 0 });
    const from = Number(body['next_offset']);
    expect(from).toBeGreaterThanOrEqual(100_000);
    expect(from).toBeLessThan(TEXT.length);
    const rest = encode(TEXT.subarray(from));
    expect(await node.postBytes(CHUNK, request_id, rest, coded(coding, from))).toMatchObject({ status: 200 });
    await node.post(COMPLETE, { request_id, total_size: TEXT.length });
    expect((await answer).bytes.equals(TEXT)).toBe(true);
  });

  test('may come in any order within a window', async () => {
    await using router = await startRouter();
    await using node = await PlainConnector.connect(router.url, { capabilities: `${coding}, offset, parallel` });
    const { answer } = ask(router.url, STREAM);
    const { request_id } = await node.next();
    const half = TEXT.length >> 1;
    const halves = [half, 0].map((from) =>
      node.postBytes(
        CHUNK,
        request_id,
        encode(TEXT.subarray(from, from === 0 ? half : undefined)),
        coded(coding, from),
      ),
    );
    await Promise.all(halves);
    await node.post(COMPLETE, { request_id, total_size: TEXT.length });
    expect((await answer).bytes.equals(TEXT)).toBe(true);
  });

  test('that is not what it says is refused, and what came before it stays', async () => {
    await using router = await startRouter();
    await using node = await PlainConnector.connect(router.url, { capabilities: `${coding}, offset` });
    const { answer } = ask(router.url, STREAM);
    const { request_id } = await node.next();
    await node.postBytes(CHUNK, request_id, encode(TEXT.subarray(0, 1000)), coded(coding, 0));
    expect(await node.postBytes(CHUNK, request_id, 'this is not coded at all', coded(coding, 1000))).toMatchObject({
      status: 400,
      body: { code: 'invalid_request', detail: expect.stringContaining('cannot be decoded') },
    });
    await node.postBytes(CHUNK, request_id, TEXT.subarray(1000), {
      ...coded(coding, 1000),
      'Content-Encoding': 'identity',
    });
    await node.post(COMPLETE, { request_id, total_size: TEXT.length });
    expect((await answer).bytes.equals(TEXT)).toBe(true);
  });

  test('that ends in the middle does not count as whole', async () => {
    await using router = await startRouter();
    await using node = await PlainConnector.connect(router.url, { capabilities: coding });
    const { answer } = ask(router.url, SYNC, undefined, OCTETS);
    const { request_id } = await node.next();
    const cut = encode(TEXT).subarray(0, -20);
    const reply = await node.postBytes(RESULT, request_id, cut, { 'Content-Encoding': coding });
    expect(reply.status).toBeGreaterThanOrEqual(400);
    expect((await answer).status).toBeGreaterThanOrEqual(500);
  });

  test('that becomes more than was announced ends the request at that point', async () => {
    await using router = await startRouter();
    await using node = await PlainConnector.connect(router.url, { capabilities: `${coding}, offset` });
    const { answer } = ask(router.url, STREAM);
    const { request_id } = await node.next();
    const bomb = encode(Buffer.alloc(64 * 1024 * 1024));
    expect(bomb.length).toBeLessThan(200_000);
    const reply = await node.postBytes(CHUNK, request_id, bomb, coded(coding, 0, { 'Relay-Total-Size': 1000 }));
    expect(reply).toMatchObject({ status: 502, body: { code: 'connector_failed' } });
    expect((await answer).status).toBe(502);
  });

  test('is decoded no faster than its app reads', async () => {
    await using router = await startRouter();
    await using node = await PlainConnector.connect(router.url, { capabilities: `${coding}, offset` });
    const { response, answer } = ask(router.url, STREAM);
    const { request_id } = await node.next();
    const bytes = Buffer.alloc(64 * 1024 * 1024);
    const size = { 'Relay-Total-Size': bytes.length };
    const sending = node.postBytes(CHUNK, request_id, encode(bytes), coded(coding, 0, size));
    const message = await response;
    message.pause();
    // All of the coded body is there; what is held of it is what buffers hold.
    const { body } = await node.postBytes(CHUNK, request_id, '', { 'Relay-Offset': bytes.length + 1 });
    expect(Number(body['next_offset'])).toBeLessThan(32 * 1024 * 1024);
    message.resume();
    expect(await sending).toMatchObject({ status: 200 });
    await node.post(COMPLETE, { request_id, total_size: bytes.length });
    expect((await answer).bytes.equals(bytes)).toBe(true);
  });
});

test('a coding that nobody said is refused, and the request waits for a better answer', async () => {
  await using router = await startRouter();
  await using node = await PlainConnector.connect(router.url);
  const { answer } = ask(router.url, SYNC, undefined, OCTETS);
  const { request_id } = await node.next();
  expect(await node.postBytes(RESULT, request_id, randomBytes(10), { 'Content-Encoding': 'br' })).toMatchObject({
    status: 400,
    body: { code: 'invalid_request', detail: expect.stringContaining('zstd and gzip') },
  });
  await node.postBytes(RESULT, request_id, 'ok');
  expect((await answer).bytes.toString()).toBe('ok');
});
