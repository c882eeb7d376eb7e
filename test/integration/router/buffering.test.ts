import { describe, expect, test } from '@jest/globals';
import { ask, speak } from '../../support/plain-app.ts';
import { MAC, PlainConnector } from '../../support/plain-connector.ts';
import { startRouter } from '../../support/router.ts';

const SYNC = '/datasets/request-sync';
const RESULT = '/datasets/result';

describe('pattern A', () => {
  test.each([
    ['text', 'Zürich, 😀 "quoted"\n', 'utf8', 'Zürich, 😀 "quoted"\n', 'utf8'],
    ['text sent as base64', Buffer.from('a,b\n').toString('base64'), 'base64', 'a,b\n', 'utf8'],
    ['what is no UTF-8', '/w==', 'base64', '/w==', 'base64'],
    ['nothing', '', 'utf8', '', 'utf8'],
  ])('answers %s in one JSON', async (_, data, encoding, expected, expectedEncoding) => {
    await using router = await startRouter();
    await using node = await PlainConnector.connect(router.url);
    const { answer } = ask(router.url, SYNC);
    const { request_id, command } = await node.next();
    expect(command).toBe('get_dataset');
    expect(await node.post(RESULT, { request_id, data, encoding })).toMatchObject({ status: 200 });
    const got = await answer;
    expect(got.status).toBe(200);
    expect(got.json()).toEqual({
      status: 'success',
      data: expected,
      encoding: expectedEncoding,
      size: Buffer.from(data, encoding as BufferEncoding).length,
    });
  });

  test('takes a binary result, and gives bytes to who asks for them', async () => {
    await using router = await startRouter();
    await using node = await PlainConnector.connect(router.url);
    const { answer } = ask(router.url, SYNC, undefined, { Accept: 'application/octet-stream' });
    const { request_id } = await node.next();
    const bytes = Buffer.from([0, 255, 10, 13]);
    await node.postBytes(RESULT, request_id, bytes, {
      'Content-Type': 'application/octet-stream',
      'Relay-Etag': '"e"',
    });
    const got = await answer;
    expect(got.bytes).toEqual(bytes);
    expect(got.headers).toMatchObject({
      'content-type': 'application/octet-stream',
      'content-length': '4',
      etag: '"e"',
    });
  });

  test('takes init, chunks and complete as an answer', async () => {
    await using router = await startRouter();
    await using node = await PlainConnector.connect(router.url);
    const { answer } = ask(router.url, SYNC);
    const { request_id } = await node.next();
    await node.post('/datasets/stream/init', { request_id, etag: '"x"' });
    await node.post('/datasets/stream/chunk', { request_id, data: 'ab' });
    await node.post('/datasets/stream/chunk', { request_id, data: 'cd' });
    await node.post('/datasets/stream/complete', { request_id, total_size: 4 });
    expect((await answer).json()).toMatchObject({ data: 'abcd', size: 4, etag: '"x"' });
  });

  test('writes a large answer slice by slice without breaking characters or base64', async () => {
    await using router = await startRouter();
    await using node = await PlainConnector.connect(router.url);
    // Three bytes a character, at an odd start: every slice boundary would fall inside one.
    for (const bytes of [
      Buffer.from(`x${'€'.repeat(1_000_000)}"`),
      Buffer.concat([Buffer.from([0xff]), Buffer.alloc(3_000_001, 'q')]),
    ]) {
      const { answer } = ask(router.url, SYNC);
      const { request_id } = await node.next();
      await node.postBytes(RESULT, request_id, bytes);
      const { data, encoding, size } = (await answer).json();
      expect(size).toBe(bytes.length);
      expect(Buffer.from(data as string, encoding as BufferEncoding).equals(bytes)).toBe(true);
    }
  });

  test('gives a large JSON answer a length for an HTTP/1.0 client', async () => {
    await using router = await startRouter();
    await using node = await PlainConnector.connect(router.url);
    const body = JSON.stringify({ mac: MAC, dataset: 'a' });
    const spoken = speak(router.url, `POST ${SYNC} HTTP/1.0\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
    const { request_id } = await node.next();
    await node.postBytes(RESULT, request_id, Buffer.alloc(2_000_000, 'é\n'));
    const [head, json] = (await spoken).text.split('\r\n\r\n');
    expect(Number(/Content-Length: (\d+)/.exec(head ?? '')?.[1])).toBe(json?.length);
  });

  test('refuses an announced size above the ceiling before the bytes come', async () => {
    await using router = await startRouter({ bufferMaxBytes: 1000 });
    await using node = await PlainConnector.connect(router.url, { capabilities: 'binary, cancel' });
    const { answer } = ask(router.url, SYNC);
    const { request_id, max_size } = await node.next();
    expect(max_size).toBe(1000);
    const post = node.begin(RESULT, request_id, { 'Content-Length': 1001 });
    post.request.on('error', () => {});
    const got = await answer;
    expect(got.status).toBe(413);
    expect(got.json()).toMatchObject({ code: 'dataset_too_large', size: 1001, limit: 1000, retryable: false });
    expect(got.json()['detail']).toMatch(/request-stream/);
    expect((await post.reply).status).toBe(413);
    expect(await node.next()).toEqual({ command: 'cancel', request_id });
  });

  test.each([
    [
      'chunk by chunk',
      async (node: PlainConnector, request_id: string) => {
        await node.post('/datasets/stream/chunk', { request_id, data: 'x'.repeat(600) });
        return node.post('/datasets/stream/chunk', { request_id, data: 'x'.repeat(600) });
      },
    ],
    [
      'in one JSON',
      (node: PlainConnector, request_id: string) => node.post(RESULT, { request_id, data: 'x'.repeat(1001) }),
    ],
    [
      'in a JSON too large to read',
      (node: PlainConnector, request_id: string) => node.post(RESULT, { request_id, data: 'x'.repeat(2_000_000) }),
    ],
  ])('refuses what turns out to be above the ceiling, sent %s', async (_, send) => {
    await using router = await startRouter({ bufferMaxBytes: 1000 });
    await using node = await PlainConnector.connect(router.url);
    const { answer } = ask(router.url, SYNC);
    const { request_id } = await node.next();
    expect(await send(node, request_id)).toMatchObject({ status: 413, body: { code: 'dataset_too_large' } });
    expect((await answer).json()).toMatchObject({ code: 'dataset_too_large', limit: 1000 });
  });

  test('holds no more than the ceiling of all together, and frees it afterwards', async () => {
    await using router = await startRouter({ bufferMaxBytes: 1000, bufferTotalBytes: 1500 });
    await using node = await PlainConnector.connect(router.url);
    const first = ask(router.url, SYNC);
    const { request_id } = await node.next();
    await node.post('/datasets/stream/init', { request_id, total_size: 1000 });
    const second = ask(router.url, SYNC);
    const { request_id: other } = await node.next();
    expect(await node.post('/datasets/stream/init', { request_id: other, total_size: 1000 })).toMatchObject({
      status: 503,
    });
    const refused = await second.answer;
    expect(refused.json()).toMatchObject({ code: 'overloaded', retryable: true });
    expect(refused.headers['retry-after']).toBe('5');
    await node.post('/datasets/stream/chunk', { request_id, data: 'x'.repeat(1000) });
    await node.post('/datasets/stream/complete', { request_id, total_size: 1000 });
    expect((await first.answer).status).toBe(200);
    const third = ask(router.url, SYNC);
    const { request_id: again } = await node.next();
    await node.post(RESULT, { request_id: again, data: 'fine' });
    expect((await third.answer).status).toBe(200);
  });

  test.each([
    ['a lone surrogate', { data: '\ud800' }],
    ['what is no base64', { data: 'a*b=', encoding: 'base64' }],
    ['an unknown encoding', { data: 'abc', encoding: 'hex' }],
    ['nothing at all', {}],
  ])('refuses %s as data, and says so', async (_, result) => {
    await using router = await startRouter({ firstByteTimeoutMs: 300, silenceTimeoutMs: 300 });
    await using node = await PlainConnector.connect(router.url);
    const { answer } = ask(router.url, SYNC);
    const { request_id } = await node.next();
    expect(await node.post(RESULT, { request_id, ...result })).toMatchObject({
      status: 400,
      body: { code: 'invalid_request' },
    });
    expect([502, 504]).toContain((await answer).status);
  });

  test('is not changed by a second result with other data, which gets the reply of the first', async () => {
    await using router = await startRouter();
    await using node = await PlainConnector.connect(router.url);
    const { answer } = ask(router.url, SYNC);
    const { request_id } = await node.next();
    const [first, second] = await Promise.all([
      node.post(RESULT, { request_id, data: 'first' }),
      answer.then(() => node.post(RESULT, { request_id, data: 'second' })),
    ]);
    expect(first.status).toBe(200);
    expect(second).toEqual(first);
    expect(await node.postBytes(RESULT, request_id, 'third')).toEqual(first);
    expect((await answer).json()).toMatchObject({ data: 'first', size: 5 });
  });

  test.each([
    [
      'in JSON',
      (node: PlainConnector, request_id: string) => node.post('/datasets/stream/chunk', { request_id, data: 'abcde' }),
    ],
    [
      'as bytes',
      (node: PlainConnector, request_id: string) => node.postBytes('/datasets/stream/chunk', request_id, 'abcde'),
    ],
  ])('fails when more than the announced size is sent %s', async (_, send) => {
    await using router = await startRouter();
    await using node = await PlainConnector.connect(router.url);
    const { answer } = ask(router.url, SYNC);
    const { request_id } = await node.next();
    await node.post('/datasets/stream/init', { request_id, total_size: 4 });
    expect(await send(node, request_id)).toMatchObject({ status: 502, body: { code: 'connector_failed' } });
    expect([(await answer).status, (await answer).json()['code']]).toEqual([502, 'connector_failed']);
  });

  test('fails when a binary result breaks off', async () => {
    await using router = await startRouter();
    await using node = await PlainConnector.connect(router.url);
    const { answer } = ask(router.url, SYNC);
    const { request_id } = await node.next();
    const post = node.begin(RESULT, request_id, { 'Content-Length': 1000 });
    post.request.on('error', () => {});
    post.request.write('abc', () => post.request.destroy());
    expect((await answer).json()).toMatchObject({ code: 'connector_failed', retryable: true });
  });
});
