import { describe, expect, test } from '@jest/globals';
import { ask, call, speak } from '../../support/plain-app.ts';
import { MAC, PlainConnector } from '../../support/plain-connector.ts';
import { startRouter } from '../../support/router.ts';

const STREAM = '/datasets/request-stream';
const INIT = '/datasets/stream/init';
const CHUNK = '/datasets/stream/chunk';
const COMPLETE = '/datasets/stream/complete';

describe('pattern B', () => {
  test('passes JSON init, chunks and complete on as one body', async () => {
    await using router = await startRouter();
    await using node = await PlainConnector.connect(router.url);
    const { answer } = ask(router.url, STREAM);
    const command = await node.next();
    expect(command).toMatchObject({ command: 'get_dataset_stream', dataset_name: 'a.csv' });
    const { request_id } = command;
    expect(await node.post(INIT, { request_id, total_size: 6, content_type: 'text/csv', etag: '"v1"' })).toMatchObject({
      status: 200,
      body: { next_offset: 0 },
    });
    expect(await node.post(CHUNK, { request_id, data: 'abc' })).toMatchObject({
      status: 200,
      body: { next_offset: 3 },
    });
    expect(await node.post(CHUNK, { request_id, data: 'ZGVm', encoding: 'base64' })).toMatchObject({
      body: { next_offset: 6 },
    });
    expect(await node.post(COMPLETE, { request_id, total_size: 6 })).toMatchObject({ status: 200 });
    const got = await answer;
    expect(got).toMatchObject({ status: 200, error: undefined });
    expect(got.bytes.toString()).toBe('abcdef');
    expect(got.headers).toMatchObject({
      'content-length': '6',
      'content-type': 'text/csv',
      etag: '"v1"',
      'relay-request-id': request_id,
    });
  });

  test('passes a binary chunk on while it is still arriving', async () => {
    await using router = await startRouter();
    await using node = await PlainConnector.connect(router.url, { capabilities: 'binary, offset' });
    const { received, answer } = ask(router.url, STREAM);
    const { request_id } = await node.next();
    const post = node.begin(CHUNK, request_id, { 'Relay-Offset': 0, 'Relay-Total-Size': 8, 'Content-Length': 8 });
    post.request.write('1234');
    expect(await received(4)).toBe('1234');
    post.request.end('5678');
    await post.reply;
    await node.post(COMPLETE, { request_id, total_size: 8 });
    expect((await answer).bytes.toString()).toBe('12345678');
  });

  test('holds the last byte back until complete agrees', async () => {
    await using router = await startRouter();
    await using node = await PlainConnector.connect(router.url);
    const { received, answer } = ask(router.url, STREAM);
    const { request_id } = await node.next();
    await node.post(INIT, { request_id, total_size: 4 });
    await node.post(CHUNK, { request_id, data: 'abcd' });
    expect(await received(3)).toBe('abc');
    // Whatever the router has still to say arrives before the answer to a later request of the same connector's.
    await node.post('/datasets/offload/progress', { request_id, bytes_done: 4 });
    expect(await received(3)).toBe('abc');
    await node.post(COMPLETE, { request_id, total_size: 4 });
    expect((await answer).bytes.toString()).toBe('abcd');
  });

  test('resets the connection of an app when a completed size does not agree', async () => {
    await using router = await startRouter();
    await using node = await PlainConnector.connect(router.url);
    const body = JSON.stringify({ mac: MAC, dataset: 'a.csv' });
    const spoken = speak(
      router.url,
      `POST ${STREAM} HTTP/1.1\r\nHost: localhost\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
    );
    const { request_id } = await node.next();
    await node.post(INIT, { request_id, total_size: 4 });
    await node.post(CHUNK, { request_id, data: 'abcd' });
    const reply = await node.post(COMPLETE, { request_id, total_size: 5 });
    expect(reply).toMatchObject({ status: 502, body: { code: 'connector_failed' } });
    const { text, reset } = await spoken;
    expect(reset).toBe(true);
    expect(text).not.toMatch(/abcd$/);
  });

  test('never ends a chunked response of unknown length before complete', async () => {
    await using router = await startRouter();
    await using node = await PlainConnector.connect(router.url);
    const { answer } = ask(router.url, STREAM);
    const { request_id } = await node.next();
    await node.post(INIT, { request_id });
    await node.post(CHUNK, { request_id, data: 'abc' });
    await node.post('/datasets/result', { request_id, error: { code: 'dataset_unreadable', message: 'bad sector' } });
    const got = await answer;
    expect(got.headers['transfer-encoding']).toBe('chunked');
    expect(got.error).toBeDefined();
  });

  test('answers an empty dataset only after complete', async () => {
    await using router = await startRouter();
    await using node = await PlainConnector.connect(router.url);
    const { answer } = ask(router.url, STREAM);
    const { request_id } = await node.next();
    await node.post(INIT, { request_id, total_size: 0 });
    await node.post('/datasets/result', { request_id, error: { code: 'dataset_not_found' } });
    expect((await answer).status).toBe(404);
  });

  test('skips what a chunk sent again has in common, and refuses a gap', async () => {
    await using router = await startRouter();
    await using node = await PlainConnector.connect(router.url, { capabilities: 'offset' });
    const { answer } = ask(router.url, STREAM);
    const { request_id } = await node.next();
    await node.post(INIT, { request_id, total_size: 8 });
    await node.post(CHUNK, { request_id, offset: 0, data: 'abcd' });
    expect(await node.post(CHUNK, { request_id, offset: 6, data: 'gh' })).toMatchObject({
      status: 409,
      body: { code: 'offset_mismatch', next_offset: 4 },
    });
    expect(await node.post(CHUNK, { request_id, offset: 0, data: 'abcd' })).toMatchObject({
      status: 200,
      body: { next_offset: 4 },
    });
    expect(await node.post(CHUNK, { request_id, offset: 2, data: 'cdefgh' })).toMatchObject({
      status: 200,
      body: { next_offset: 8 },
    });
    expect(await node.post(CHUNK, { request_id, offset: 0, data: 'abcd' })).toMatchObject({
      status: 200,
      body: { next_offset: 8 },
    });
    await node.post(COMPLETE, { request_id, total_size: 8 });
    expect((await answer).bytes.toString()).toBe('abcdefgh');
  });

  test('lets a chunk with an offset take the place of one that is still arriving', async () => {
    await using router = await startRouter();
    await using node = await PlainConnector.connect(router.url, { capabilities: 'binary, offset' });
    const { answer, response } = ask(router.url, STREAM);
    const { request_id } = await node.next();
    const first = node.begin(CHUNK, request_id, { 'Relay-Offset': 0, 'Relay-Total-Size': 8, 'Content-Length': 8 });
    first.request.on('error', () => {});
    first.request.write('abcd');
    await response;
    const second = await node.postBytes(CHUNK, request_id, 'bcdefgh', { 'Relay-Offset': 1 });
    expect(second).toMatchObject({ status: 200, body: { next_offset: 8 } });
    await node.post(COMPLETE, { request_id, total_size: 8 });
    expect((await answer).bytes.toString()).toBe('abcdefgh');
  });

  test('goes on after a chunk with an offset broke off', async () => {
    await using router = await startRouter();
    await using node = await PlainConnector.connect(router.url, { capabilities: 'binary, offset' });
    const { answer, response } = ask(router.url, STREAM);
    const { request_id } = await node.next();
    const first = node.begin(CHUNK, request_id, { 'Relay-Offset': 0, 'Relay-Total-Size': 8, 'Content-Length': 8 });
    first.request.on('error', () => {});
    first.request.write('abcd');
    await response;
    first.request.destroy();
    expect(await node.postBytes(CHUNK, request_id, 'abcdefgh', { 'Relay-Offset': 0 })).toMatchObject({ status: 200 });
    await node.post(COMPLETE, { request_id, total_size: 8 });
    expect((await answer).bytes.toString()).toBe('abcdefgh');
  });

  test.each([
    [
      'a chunk without an offset breaks off',
      async (node: PlainConnector, id: string, begun: Promise<unknown>) => {
        const post = node.begin(CHUNK, id, { 'Content-Length': 8 });
        post.request.on('error', () => {});
        post.request.write('abcd');
        await begun;
        post.request.destroy();
      },
    ],
    [
      'two chunks without offsets arrive at once',
      async (node: PlainConnector, id: string, begun: Promise<unknown>) => {
        const post = node.begin(CHUNK, id, { 'Content-Length': 8 });
        post.request.on('error', () => {});
        post.request.write('abcd');
        await begun;
        await node.post(CHUNK, { request_id: id, data: 'xy' });
      },
    ],
    [
      'a second init comes among chunks without offsets',
      async (node: PlainConnector, id: string) => {
        await node.post(CHUNK, { request_id: id, data: 'abcd' });
        await node.post(INIT, { request_id: id, total_size: 100 });
      },
    ],
    [
      'more than the announced size is sent',
      async (node: PlainConnector, id: string) => {
        await node.post(CHUNK, { request_id: id, data: 'x'.repeat(101) });
      },
    ],
    [
      'more than the announced size is sent as bytes',
      async (node: PlainConnector, id: string) => {
        await node.postBytes(CHUNK, id, 'x'.repeat(101), { 'Relay-Offset': '0' });
      },
    ],
    [
      'more than the announced size is sent in a part whose turn is later',
      async (node: PlainConnector, id: string, begun: Promise<unknown>) => {
        await node.postBytes(CHUNK, id, 'x'.repeat(50), { 'Relay-Offset': '0' });
        await begun;
        const late = node.begin(CHUNK, id, { 'Relay-Offset': '60' });
        // It is cut or answered, as it happens.
        late.request.on('error', () => {});
        late.request.end('x'.repeat(41));
        await Promise.allSettled([late.reply, node.postBytes(CHUNK, id, 'x'.repeat(10), { 'Relay-Offset': '50' })]);
      },
      'binary, offset, parallel',
    ],
    [
      'a later init differs from the first',
      async (node: PlainConnector, id: string) => {
        await node.post(INIT, { request_id: id, total_size: 100, etag: '"other"' });
      },
    ],
  ])('fails when %s', async (_, misbehave, capabilities = '') => {
    await using router = await startRouter();
    await using node = await PlainConnector.connect(router.url, { capabilities });
    const { answer, response } = ask(router.url, STREAM);
    const { request_id } = await node.next();
    await node.post(INIT, { request_id, total_size: 100, etag: '"first"' });
    await misbehave(node, request_id, response);
    const got = await answer;
    // Before its first byte a response can still say why; after that it can only be cut.
    const outcome = got.status === 200 ? (got.error === undefined ? 'looks whole' : 'cut') : got.json()['code'];
    expect(['cut', 'connector_failed', 'dataset_changed']).toContain(outcome);
    expect(await node.post(CHUNK, { request_id, data: 'late' })).toMatchObject({ status: 410 });
  });

  test('remembers a complete that comes before the last bytes', async () => {
    await using router = await startRouter();
    await using node = await PlainConnector.connect(router.url);
    const { answer } = ask(router.url, STREAM);
    const { request_id } = await node.next();
    await node.post(INIT, { request_id, total_size: 3 });
    expect((await node.post(COMPLETE, { request_id, total_size: 3 })).status).toBe(200);
    await node.post(CHUNK, { request_id, data: 'abc' });
    expect((await answer).bytes.toString()).toBe('abc');
  });

  test('gives a second complete and a second failure the first one’s reply', async () => {
    await using router = await startRouter();
    await using node = await PlainConnector.connect(router.url);
    const first = ask(router.url, STREAM);
    const { request_id } = await node.next();
    await node.post(CHUNK, { request_id, data: 'abc' });
    const reply = await node.post(COMPLETE, { request_id, total_size: 3 });
    expect(await node.post(COMPLETE, { request_id, total_size: 3 })).toEqual(reply);
    expect((await first.answer).bytes.toString()).toBe('abc');
    const second = ask(router.url, STREAM);
    const { request_id: failing } = await node.next();
    const failure = { request_id: failing, error: { code: 'dataset_not_found', message: 'no' } };
    expect(await node.post('/datasets/result', failure)).toEqual(await node.post('/datasets/result', failure));
    expect((await second.answer).json()).toMatchObject({ code: 'dataset_not_found', detail: 'no' });
  });

  test('gives an HTTP/1.0 client a dataset of known length, and refuses one of unknown length', async () => {
    await using router = await startRouter();
    await using node = await PlainConnector.connect(router.url);
    const body = JSON.stringify({ mac: MAC, dataset: 'a.csv' });
    const head = `POST ${STREAM} HTTP/1.0\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
    const known = speak(router.url, head);
    const { request_id } = await node.next();
    await node.post(INIT, { request_id, total_size: 3 });
    await node.post(CHUNK, { request_id, data: 'abc' });
    await node.post(COMPLETE, { request_id, total_size: 3 });
    expect((await known).text).toMatch(/200 OK[^]*Content-Length: 3[^]*\r\n\r\nabc$/);
    const unknown = speak(router.url, head);
    const second = await node.next();
    await node.post(CHUNK, { request_id: second.request_id, data: 'abc' });
    expect((await unknown).text).toMatch(/ 505 [^]*http_version_not_supported/);
  });

  test('gives the digest in a trailer when it was asked for, and in the request’s status', async () => {
    await using router = await startRouter();
    await using node = await PlainConnector.connect(router.url, { capabilities: 'digest' });
    const { answer } = ask(router.url, STREAM, undefined, { 'Want-Repr-Digest': 'sha-256=5' });
    const { request_id, want_digest } = await node.next();
    expect(want_digest).toBe(true);
    const digest = 'sha-256=:ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=:';
    await node.post(INIT, { request_id, total_size: 3 });
    await node.post(CHUNK, { request_id, data: 'abc' });
    await node.post(COMPLETE, { request_id, total_size: 3, digest });
    const got = await answer;
    expect(got.trailers['repr-digest']).toBe(digest);
    expect(got.headers['relay-total-size']).toBe('3');
    expect((await call(router.url, 'GET', `/requests/${request_id}`)).json()).toMatchObject({
      state: 'done',
      digest,
      bytes_done: 3,
      total_size: 3,
    });
  });

  test('tells the length in place of a trailer to who prefers that, and the digest in the request’s status', async () => {
    await using router = await startRouter();
    await using node = await PlainConnector.connect(router.url, { capabilities: 'digest' });
    const wanted = { 'Want-Repr-Digest': 'sha-256=5', Prefer: 'wait=1, length' };
    const { answer } = ask(router.url, STREAM, undefined, wanted);
    const { request_id } = await node.next();
    const digest = 'sha-256=:ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=:';
    await node.post(INIT, { request_id, total_size: 3 });
    await node.post(CHUNK, { request_id, data: 'abc' });
    await node.post(COMPLETE, { request_id, total_size: 3, digest });
    const got = await answer;
    expect(got.headers).toMatchObject({ 'content-length': '3', 'preference-applied': 'length' });
    expect([got.headers['trailer'], got.bytes.toString()]).toEqual([undefined, 'abc']);
    expect((await call(router.url, 'GET', `/requests/${request_id}`)).json()).toMatchObject({ digest });
    // Without a size there is no length to tell.
    const unknown = ask(router.url, STREAM, undefined, wanted);
    const second = (await node.next()).request_id;
    await node.post(CHUNK, { request_id: second, data: 'abc' });
    await node.post(COMPLETE, { request_id: second, total_size: 3, digest });
    expect((await unknown.answer).trailers['repr-digest']).toBe(digest);
  });

  test('gives a JSON result of several MiB whole where a digest was asked for and none came with it', async () => {
    await using router = await startRouter();
    await using node = await PlainConnector.connect(router.url, { capabilities: 'digest' });
    const { answer } = ask(router.url, STREAM, undefined, { 'Want-Repr-Digest': 'sha-256=5' });
    const { request_id } = await node.next();
    const data = 'x'.repeat(8 * 1024 * 1024);
    expect(await node.post('/datasets/result', { request_id, data })).toMatchObject({
      status: 200,
      body: { next_offset: data.length },
    });
    const got = await answer;
    expect(got).toMatchObject({ status: 200, error: undefined });
    expect(got.bytes.equals(Buffer.from(data))).toBe(true);
  });

  test('cancels at the connector when the app goes away, and refuses what it still sends', async () => {
    await using router = await startRouter();
    await using node = await PlainConnector.connect(router.url, { capabilities: 'binary, offset, cancel' });
    const { request, response } = ask(router.url, STREAM);
    const { request_id } = await node.next();
    const post = node.begin(CHUNK, request_id, { 'Relay-Offset': 0, 'Relay-Total-Size': 1000, 'Content-Length': 1000 });
    post.request.on('error', () => {});
    post.request.write('abc');
    await response;
    request.destroy();
    expect(await node.next()).toEqual({ command: 'cancel', request_id });
    expect((await post.reply).status).toBe(410);
    expect(await node.post(COMPLETE, { request_id, total_size: 3 })).toMatchObject({
      status: 410,
      body: { code: 'cancelled' },
    });
  });

  test.each(['bytes', 'JSON'])(
    'gives a result in %s that is sent again meanwhile the first one’s reply',
    async (form) => {
      await using router = await startRouter();
      await using node = await PlainConnector.connect(router.url);
      const { response, answer } = ask(router.url, STREAM);
      const { request_id } = await node.next();
      const data = 'x'.repeat(30 * 1024 * 1024);
      const send = (): Promise<unknown> =>
        form === 'bytes'
          ? node.postBytes('/datasets/result', request_id, data)
          : node.post('/datasets/result', { request_id, data });
      const first = send();
      (await response).pause();
      const second = send();
      await untilTaken(router.url, request_id, 1);
      (await response).resume();
      expect(await first).toMatchObject({ status: 200, body: { next_offset: data.length } });
      expect(await second).toEqual(await first);
      expect((await answer).bytes.length).toBe(data.length);
    },
  );

  test('answers every chunk that waits for an app that does not read, also one that was sent again', async () => {
    await using router = await startRouter();
    await using node = await PlainConnector.connect(router.url, { capabilities: 'offset' });
    const { response, answer } = ask(router.url, STREAM);
    const { request_id } = await node.next();
    const size = 32 * 1024 * 1024;
    await node.post(INIT, { request_id, total_size: size + 2 });
    await node.post(CHUNK, { request_id, offset: 0, data: 'x' });
    const message = await response;
    message.pause();
    const piece = 'x'.repeat(4 * 1024 * 1024);
    const replies: Promise<unknown>[] = [];
    for (let offset = 1; offset < size; offset += piece.length) {
      replies.push(node.post(CHUNK, { request_id, offset, data: piece }));
      await untilTaken(router.url, request_id, offset + piece.length);
    }
    // Two more wait beside each other: new bytes, and the same again with one more.
    replies.push(node.post(CHUNK, { request_id, offset: size, data: 'xx' }));
    replies.push(node.post(CHUNK, { request_id, offset: size - 1, data: 'xxx' }));
    message.resume();
    for (const reply of await Promise.all(replies)) expect(reply).toMatchObject({ status: 200 });
    await node.post(COMPLETE, { request_id, total_size: size + 2 });
    expect((await answer).bytes.length).toBe(size + 2);
  });

  test('counts no silence while the app does not read, and slows the connector down', async () => {
    await using router = await startRouter({ silenceTimeoutMs: 1000 });
    await using node = await PlainConnector.connect(router.url, { capabilities: 'binary, offset' });
    const size = 64 * 1024 * 1024;
    const { response, answer } = ask(router.url, STREAM);
    const { request_id } = await node.next();
    const post = node.begin(CHUNK, request_id, { 'Relay-Offset': 0, 'Relay-Total-Size': size, 'Content-Length': size });
    post.request.write(Buffer.alloc(1024));
    const message = await response;
    message.pause();
    post.request.end(Buffer.alloc(size - 1024));
    // The silence limit passes several times while the app holds its bytes back.
    await expect(Promise.race([post.reply, deadline(3000)])).resolves.toBe('deadline');
    message.resume();
    expect((await post.reply).status).toBe(200);
    await node.post(COMPLETE, { request_id, total_size: size });
    expect((await answer).error).toBeUndefined();
    expect(message.complete).toBe(true);
  });
});

function deadline(ms: number): Promise<string> {
  return new Promise((resolve) => setTimeout(() => resolve('deadline'), ms));
}

/** Resolves once the router has taken in the bytes before `offset`. */
async function untilTaken(url: string, id: string, offset: number): Promise<void> {
  while (((await call(url, 'GET', `/requests/${id}`)).json()['bytes_done'] as number) < offset);
}
