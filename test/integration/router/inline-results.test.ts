import { describe, expect, test } from '@jest/globals';
import { once } from 'node:events';
import { WebSocket } from 'ws';
import { ask, call } from '../../support/plain-app.ts';
import { MAC, PlainConnector } from '../../support/plain-connector.ts';
import { startRouter } from '../../support/router.ts';

const STREAM = '/datasets/request-stream';
const CAPABILITIES = 'inline, offset, range, stat, parallel, cancel';
const OTHER_MAC = 'cc-28-aa-01-02-04';

/** A binary message: a line of JSON, then bytes. */
const message = (head: object, bytes: Buffer | string = ''): Buffer =>
  Buffer.concat([Buffer.from(`${JSON.stringify(head)}\n`), Buffer.from(bytes)]);

/** Waits until the router has read what was sent on a link before. */
async function readBy(connector: PlainConnector): Promise<void> {
  connector.socket.ping();
  await once(connector.socket, 'pong');
}

describe('a result that comes over the link', () => {
  test('is asked for only of who said that it can, over a WebSocket', async () => {
    await using router = await startRouter();
    await using plain = await PlainConnector.connect(router.url, { capabilities: 'offset' });
    const first = ask(router.url, STREAM);
    expect(await plain.next()).not.toHaveProperty('inline_max');
    first.request.destroy();
    await using able = await PlainConnector.connect(router.url, { mac: OTHER_MAC, capabilities: CAPABILITIES });
    const second = ask(router.url, STREAM, { mac: OTHER_MAC, dataset: 'a.csv' });
    expect(await able.next()).toMatchObject({ command: 'get_dataset_stream', inline_max: 65_536 });
    second.request.destroy();
    expect(await able.next()).toEqual({ command: 'cancel', request_id: expect.any(String) });
  });

  test.each([
    ['the whole of a dataset', 'parallel, '],
    ['the whole of a dataset, in order', ''],
  ])('answers with %s', async (_, parallel) => {
    await using router = await startRouter();
    await using node = await PlainConnector.connect(router.url, { capabilities: `${parallel}inline, offset, range` });
    const { answer } = ask(router.url, STREAM);
    const { request_id } = await node.next();
    const head = { request_id, offset: 0, total_size: 4, etag: '"e"', content_type: 'text/csv' };
    node.socket.send(message({ ...head, last_modified: '2026-01-31T12:00:00Z' }, 'a\nb\n'));
    const { status, headers, bytes } = await answer;
    expect([status, bytes.toString()]).toEqual([200, 'a\nb\n']);
    expect(headers).toMatchObject({ etag: '"e"', 'content-type': 'text/csv', 'content-length': '4' });
    expect(headers['last-modified']).toBe('Sat, 31 Jan 2026 12:00:00 GMT');
  });

  test('answers with a part, with nothing, with JSON and with a failure', async () => {
    await using router = await startRouter();
    await using node = await PlainConnector.connect(router.url, { capabilities: CAPABILITIES });
    const url = `/connectors/${MAC}/datasets/file`;
    const part = call(router.url, 'GET', url, { Range: 'bytes=2-3' });
    const { request_id: id, offset } = await node.next();
    node.socket.send(message({ request_id: id, offset, total_size: 10, etag: '"e"' }, 'cd'));
    expect(await part).toMatchObject({ status: 206, bytes: Buffer.from('cd') });

    const empty = ask(router.url, STREAM);
    node.socket.send(message({ request_id: (await node.next()).request_id, offset: 0, total_size: 0 }));
    expect(await empty.answer).toMatchObject({ status: 200, bytes: Buffer.alloc(0) });

    const head = call(router.url, 'HEAD', url);
    const dataset = { name: 'file', size: 7, etag: '"f"' };
    node.socket.send(JSON.stringify({ result: { request_id: (await node.next()).request_id, dataset } }));
    expect((await head).headers).toMatchObject({ 'content-length': '7', etag: '"f"' });

    const failed = ask(router.url, STREAM);
    const error = { code: 'dataset_unreadable', message: 'no' };
    node.socket.send(JSON.stringify({ result: { request_id: (await node.next()).request_id, error } }));
    expect((await failed.answer).json()).toMatchObject({ code: 'dataset_unreadable' });
  });

  test.each([
    ['more than was asked for', { offset: 0, total_size: 2 }, 'abc'],
    ['less than it says', { offset: 0, total_size: 9, etag: '"e"' }, 'abc'],
    ['a gap', { offset: 5, total_size: 8 }, 'abc'],
  ])('fails its request where it has %s', async (_, head, bytes) => {
    await using router = await startRouter();
    await using node = await PlainConnector.connect(router.url, { capabilities: 'inline, offset' });
    const { answer } = ask(router.url, STREAM);
    node.socket.send(message({ request_id: (await node.next()).request_id, ...head }, bytes));
    const { status, error } = await answer;
    // What had begun can only be cut.
    expect(status === 502 || error !== undefined).toBe(true);
  });

  test('of the wrong kind is an unusable answer', async () => {
    await using router = await startRouter();
    await using node = await PlainConnector.connect(router.url, { capabilities: 'inline, stat' });
    const head = call(router.url, 'HEAD', `/connectors/${MAC}/datasets/file`);
    node.socket.send(message({ request_id: (await node.next()).request_id, offset: 0, total_size: 1 }, 'x'));
    expect((await head).status).toBe(502);
    const stream = ask(router.url, STREAM);
    const { request_id } = await node.next();
    node.socket.send(JSON.stringify({ result: { request_id, dataset: { name: 'file', size: 7 } } }));
    expect((await stream.answer).json()).toMatchObject({ code: 'connector_failed' });
  });

  test('counts once, and only from the connector that was asked', async () => {
    await using router = await startRouter();
    await using node = await PlainConnector.connect(router.url, { capabilities: CAPABILITIES });
    await using other = await PlainConnector.connect(router.url, { mac: OTHER_MAC, capabilities: CAPABILITIES });
    const { answer } = ask(router.url, STREAM);
    const { request_id } = await node.next();
    other.socket.send(message({ request_id, offset: 0, total_size: 5 }, 'other'));
    await readBy(other);
    node.socket.send(message({ request_id, offset: 0, total_size: 4 }, 'mine'));
    node.socket.send(message({ request_id, offset: 0, total_size: 4 }, 'more'));
    await readBy(node);
    expect((await answer).bytes.toString()).toBe('mine');
  });

  test.each([
    ['no line', Buffer.from('no line at all')],
    ['no JSON', Buffer.from('{"request_id":\nx')],
    ['no id', message({ offset: 0 }, 'x')],
    ['nothing', Buffer.alloc(0)],
    ['an id that nobody has', message({ request_id: 'unknown-1', offset: 0 }, 'x')],
  ])('with %s is let go by, and a thousand of them are a flood', async (_, bytes) => {
    await using router = await startRouter();
    await using node = await PlainConnector.connect(router.url, { capabilities: CAPABILITIES });
    node.socket.send(bytes);
    await readBy(node);
    const closed = once(node.socket, 'close');
    for (let n = 0; n < 1000; n++) node.socket.send(bytes);
    await closed;
    expect(node.socket.readyState).toBe(WebSocket.CLOSED);
  });

  test('of which there are more than a flood is none, where each was asked for', async () => {
    await using router = await startRouter();
    await using node = await PlainConnector.connect(router.url, { capabilities: CAPABILITIES });
    for (let n = 0; n < 60; n++) {
      const asked = Array.from({ length: 10 }, () => ask(router.url, STREAM));
      for (const _each of asked) {
        node.socket.send(message({ request_id: (await node.next()).request_id, offset: 0, total_size: 1 }, 'x'));
      }
      for (const { answer } of asked) expect((await answer).status).toBe(200);
    }
  });

  test('for a request that was cancelled meanwhile is no flood, but once', async () => {
    await using router = await startRouter();
    await using node = await PlainConnector.connect(router.url, { capabilities: 'inline, offset' });
    const late: Buffer[] = [];
    for (let n = 0; n < 600; n++) {
      const { request, answer, response } = ask(router.url, STREAM);
      for (const broken of [answer, response]) broken.catch(() => {});
      late.push(message({ request_id: (await node.next()).request_id, offset: 0, total_size: 1 }, 'x'));
      await new Promise((resolve) =>
        request
          .on('error', () => {})
          .once('close', resolve)
          .destroy(),
      );
    }
    // Whatever came before this has been taken in by the router, the ends of connections too.
    await call(router.url, 'GET', '/healthz');
    for (const each of late) node.socket.send(each);
    await readBy(node);
    const closed = once(node.socket, 'close');
    for (const each of late) node.socket.send(each);
    await closed;
    expect(node.socket.readyState).toBe(WebSocket.CLOSED);
  });

  test('that is lost with its link is asked for again, with the same id', async () => {
    await using router = await startRouter({ reconnectWaitMs: 5000 });
    await using first = await PlainConnector.connect(router.url, { capabilities: CAPABILITIES, instance: 'one' });
    const { answer } = ask(router.url, STREAM);
    const { request_id } = await first.next();
    first.socket.terminate();
    await using second = await PlainConnector.connect(router.url, { capabilities: CAPABILITIES, instance: 'one' });
    expect(await second.next()).toMatchObject({ command: 'get_dataset_stream', request_id, inline_max: 65_536 });
    second.socket.send(message({ request_id, offset: 0, total_size: 1 }, 'x'));
    expect((await answer).bytes.toString()).toBe('x');
  });
});
