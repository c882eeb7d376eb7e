import { describe, expect, test } from '@jest/globals';
import { once } from 'node:events';
import http, { type IncomingMessage } from 'node:http';
import { WebSocket } from 'ws';
import { ask, call } from '../../support/plain-app.ts';
import { MAC, PlainConnector } from '../../support/plain-connector.ts';
import { startRouter } from '../../support/router.ts';

const SYNC = '/datasets/request-sync';
const STREAM = '/datasets/request-stream';

/** A bare SSE link: gives the text as it comes. */
async function openEvents(url: string, headers: http.OutgoingHttpHeaders = {}) {
  const request = http.get(`${url}/connectors/${MAC}/events`, { headers, agent: false });
  request.on('error', () => {});
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  let text = '';
  let wakeUp: (() => void) | undefined;
  response.setEncoding('utf8').on('data', (piece: string) => {
    text += piece;
    wakeUp?.();
  });
  response.on('error', () => {});
  const until = async (pattern: RegExp): Promise<RegExpExecArray> => {
    for (;;) {
      const match = pattern.exec(text);
      if (match !== null) return match;
      await new Promise<void>((resolve) => {
        wakeUp = resolve;
      });
    }
  };
  return { response, until, [Symbol.dispose]: () => request.destroy() };
}

describe('links', () => {
  test('carries commands over SSE, one data line each, with an id', async () => {
    await using router = await startRouter({ heartbeatIntervalMs: 50 });
    using events = await openEvents(router.url);
    expect(events.response.headers).toMatchObject({ 'content-type': 'text/event-stream', 'x-accel-buffering': 'no' });
    expect(events.response.headers['cache-control']).toMatch(/no-cache.*no-transform/);
    await events.until(/^: keep-alive$/m);
    const { answer } = ask(router.url, SYNC);
    const [, id] = await events.until(/^id: 1\ndata: \{"command":"get_dataset","request_id":"([^"]+)".*\}\n\n/m);
    await fetch(`${router.url}/datasets/result`, {
      method: 'POST',
      body: JSON.stringify({ request_id: id, data: 'x' }),
    });
    expect((await answer).json()).toMatchObject({ data: 'x' });
  });

  test.each(['websocket', 'sse'])('says over %s when a binary body begins to arrive', async (kind) => {
    await using router = await startRouter();
    const { answer } = await (async () => {
      if (kind === 'websocket') {
        await using node = await PlainConnector.connect(router.url, { capabilities: 'receiving' });
        const asked = ask(router.url, SYNC);
        const { request_id } = await node.next();
        const post = node.begin('/datasets/result', request_id, { 'Content-Length': 2 });
        post.request.write('a');
        expect(await node.next()).toEqual({ event: 'receiving', request_id });
        post.request.end('b');
        await post.reply;
        return asked;
      }
      using events = await openEvents(router.url, { 'Relay-Capabilities': 'receiving' });
      const asked = ask(router.url, STREAM);
      const [, id = ''] = await events.until(/"request_id":"([^"]+)"/);
      const headers = { 'Relay-Request-Id': id, 'Relay-Offset': '0', 'Relay-Total-Size': '2' };
      const url = `${router.url}/datasets/stream/chunk`;
      await fetch(url, { method: 'POST', headers, body: 'ab' });
      await events.until(new RegExp(`^data: \\{"event":"receiving","request_id":"${id}"\\}\n\n`, 'm'));
      const body = JSON.stringify({ request_id: id, total_size: 2 });
      await fetch(`${router.url}/datasets/stream/complete`, { method: 'POST', body });
      return asked;
    })();
    expect((await answer).bytes.toString()).toMatch(/ab/);
  });

  test('says it again down a new link, and to nobody who did not ask', async () => {
    await using router = await startRouter();
    await using first = await PlainConnector.connect(router.url, { capabilities: 'offset' });
    const { answer } = ask(router.url, STREAM);
    const { request_id } = await first.next();
    const headers = { 'Relay-Offset': 0, 'Relay-Total-Size': 2, 'Content-Length': 2 };
    const post = first.begin('/datasets/stream/chunk', request_id, headers);
    post.request.write('a');
    await first.post('/datasets/offload/progress', { request_id, bytes_done: 1 });
    await using second = await PlainConnector.connect(router.url, { capabilities: 'offset, receiving' });
    expect(await second.next()).toEqual({ event: 'receiving', request_id });
    post.request.end('b');
    await post.reply;
    await second.post('/datasets/stream/complete', { request_id, total_size: 2 });
    expect((await answer).bytes.toString()).toBe('ab');
    const next = ask(router.url, SYNC);
    const command = await second.next();
    expect(command).toMatchObject({ command: 'get_dataset' });
    await second.post('/datasets/result', { request_id: command.request_id, data: 'x' });
    await next.answer;
  });

  test('replaces a link with a newer one, and tells the old one why', async () => {
    await using router = await startRouter();
    await using first = await PlainConnector.connect(router.url);
    const closed = once(first.socket, 'close');
    await using second = await PlainConnector.connect(router.url);
    expect((await closed)[0]).toBe(4000);
    const { answer } = ask(router.url, SYNC);
    await second.post('/datasets/result', { request_id: (await second.next()).request_id, data: 'x' });
    expect((await answer).status).toBe(200);
    using events = await openEvents(router.url);
    expect((await once(second.socket, 'close'))[0]).toBe(4000);
    await using _third = await PlainConnector.connect(router.url);
    await events.until(/^event: close\ndata: \{"code":4000,"reason":".+"\}\n\n/m);
  });

  test('sends a waiting command of pattern A to the link that takes over', async () => {
    await using router = await startRouter({ reconnectWaitMs: 5000 });
    await using first = await PlainConnector.connect(router.url);
    const { answer } = ask(router.url, SYNC);
    const { request_id } = await first.next();
    first.socket.terminate();
    await using second = await PlainConnector.connect(router.url);
    expect(await second.next()).toMatchObject({ command: 'get_dataset', request_id });
    await second.post('/datasets/result', { request_id, data: 'x' });
    expect((await answer).status).toBe(200);
  });

  test.each([
    ['', 502],
    ['offset', 200],
  ])(
    'sends a waiting command of pattern B again only to who can begin at an offset (%j)',
    async (capabilities, status) => {
      await using router = await startRouter({ reconnectWaitMs: 5000 });
      await using first = await PlainConnector.connect(router.url, { capabilities });
      const { answer } = ask(router.url, STREAM);
      const { request_id } = await first.next();
      first.socket.terminate();
      await using second = await PlainConnector.connect(router.url, { capabilities });
      void second
        .next()
        .then((command) => second.post('/datasets/result', { request_id: command.request_id, data: 'x' }));
      const got = await answer;
      expect([got.status, got.headers['relay-request-id']]).toEqual([status, request_id]);
    },
  );

  test('keeps a request for a connector that was seen lately, and sends it when it is back', async () => {
    await using router = await startRouter({ reconnectWaitMs: 5000 });
    const first = await PlainConnector.connect(router.url);
    await first[Symbol.asyncDispose]();
    const { answer } = ask(router.url, STREAM);
    await using second = await PlainConnector.connect(router.url);
    const { request_id } = await second.next();
    await second.post('/datasets/result', { request_id, data: 'x' });
    expect((await answer).status).toBe(200);
  });

  test('leaves a data POST alone that outlives its link', async () => {
    await using router = await startRouter();
    await using node = await PlainConnector.connect(router.url, { capabilities: 'binary, offset' });
    const { answer, response } = ask(router.url, STREAM);
    const { request_id } = await node.next();
    const headers = { 'Relay-Offset': 0, 'Relay-Total-Size': 8, 'Content-Length': 8 };
    const post = node.begin('/datasets/stream/chunk', request_id, headers);
    post.request.write('abcd');
    await response;
    await node[Symbol.asyncDispose]();
    post.request.end('efgh');
    expect((await post.reply).status).toBe(200);
    await node.post('/datasets/stream/complete', { request_id, total_size: 8 });
    expect((await answer).bytes.toString()).toBe('abcdefgh');
  });

  test('notices a WebSocket peer that vanished without a word', async () => {
    await using router = await startRouter({ heartbeatIntervalMs: 50, heartbeatTimeoutMs: 200 });
    const socket = new WebSocket(`${router.url.replace('http', 'ws')}/connectors/${MAC}/socket`, 'relay.v1', {
      autoPong: false,
    });
    await once(socket, 'open');
    await once(socket, 'close');
    expect((await call(router.url, 'GET', `/connectors/${MAC}`)).json()).toMatchObject({
      state: 'offline',
      link: null,
    });
  });

  test('notices an SSE peer whose heartbeats stay away, and takes those that come', async () => {
    await using router = await startRouter({ heartbeatTimeoutMs: 300 });
    using events = await openEvents(router.url, { 'Relay-Capabilities': 'heartbeat' });
    const linkId = events.response.headers['relay-link-id'] as string;
    const beat = (id: string): Promise<number> =>
      fetch(`${router.url}/connectors/${MAC}/heartbeat`, { method: 'POST', headers: { 'Relay-Link-Id': id } }).then(
        ({ status }) => status,
      );
    expect(await beat(linkId)).toBe(204);
    expect(await beat('another')).toBe(410);
    await new Promise((resolve) => events.response.once('close', resolve));
    expect(await beat(linkId)).toBe(410);
  });

  test('gives a draining connector no more commands', async () => {
    await using router = await startRouter();
    await using node = await PlainConnector.connect(router.url);
    node.socket.send('{"event":"draining"}');
    node.socket.ping();
    await once(node.socket, 'pong');
    expect((await ask(router.url, SYNC).answer).json()).toMatchObject({ code: 'connector_offline' });
  });

  test.each([
    ['relay.v2', /upgrade the router/],
    ['relay.v0', /upgrade the connector/],
    ['graphql-ws', /is that a connector/],
  ])('refuses who speaks only %s on both links, and says what to do', async (offered, words) => {
    await using router = await startRouter();
    const websocket = `${router.url.replace('http', 'ws')}/connectors/${MAC}/socket`;
    for (const socket of [
      new WebSocket(websocket, offered),
      new WebSocket(websocket, { headers: { 'Relay-Protocol': offered } }),
    ]) {
      const [, response] = (await once(socket, 'unexpected-response')) as [unknown, IncomingMessage];
      socket.on('error', () => {});
      let text = '';
      for await (const piece of response.setEncoding('utf8')) text += piece as string;
      expect([response.statusCode, response.headers['content-type']]).toEqual([426, 'application/problem+json']);
      expect(JSON.parse(text)).toMatchObject({ code: 'upgrade_required', detail: expect.stringMatching(words) });
    }
    for (const [query, headers] of [
      ['', { 'Relay-Protocol': offered }],
      [`?protocol=${offered}`, {}],
    ] as const) {
      const answer = await call(router.url, 'GET', `/connectors/${MAC}/events${query}`, headers);
      expect([answer.status, answer.headers.upgrade]).toEqual([426, 'relay.v1']);
      expect(answer.json()).toMatchObject({ code: 'upgrade_required', detail: expect.stringMatching(words) });
    }
    expect((await call(router.url, 'GET', '/connectors')).json()).toEqual({ connectors: [] });
  });

  test('takes who speaks this version among others, or says nothing of it', async () => {
    await using router = await startRouter();
    const websocket = `${router.url.replace('http', 'ws')}/connectors/${MAC}/socket`;
    for (const socket of [
      new WebSocket(websocket),
      new WebSocket(websocket, ['relay.v2', 'relay.v1'], { headers: { 'Relay-Protocol': 'relay.v2, relay.v1' } }),
    ]) {
      await once(socket, 'open');
      expect(['', 'relay.v1']).toContain(socket.protocol);
      socket.terminate();
    }
  });

  test('says what is missing where a plain GET meets the WebSocket', async () => {
    await using router = await startRouter();
    expect((await call(router.url, 'GET', `/connectors/${MAC}/socket`)).status).toBe(400);
  });

  test('lists connectors page by page, with what they said of themselves', async () => {
    await using router = await startRouter();
    await using _a = await PlainConnector.connect(router.url, { mac: '00:00:00:00:00:0A' });
    await using _b = await PlainConnector.connect(router.url, { mac: '00-00-00-00-00-0b' });
    const page = await call(router.url, 'GET', '/connectors?limit=1');
    expect(page.json()).toMatchObject({
      connectors: [{ mac: '00-00-00-00-00-0a', state: 'online', link: 'websocket' }],
      next: '00-00-00-00-00-0a',
    });
    const next = /<(.+)>; rel="next"/.exec(page.headers.link as string)?.[1];
    expect((await call(router.url, 'GET', `/${next}`)).json()).toMatchObject({
      connectors: [{ mac: '00-00-00-00-00-0b' }],
    });
    for (const path of ['/connectors/000000000009', '/connectors/000000000009/datasets']) {
      expect((await call(router.url, 'GET', path)).json()).toMatchObject({ code: 'connector_not_found' });
    }
    expect((await call(router.url, 'GET', '/connectors/000000000009')).json()).toMatchObject({
      code: 'connector_not_found',
    });
  });

  test('passes listings and HEAD on to a connector that can', async () => {
    await using router = await startRouter();
    await using node = await PlainConnector.connect(router.url, { capabilities: 'stat, list' });
    const listing = call(router.url, 'GET', `/connectors/${MAC}/datasets?limit=1`);
    const list = await node.next();
    expect(list).toMatchObject({ command: 'list', limit: 1 });
    await node.post('/datasets/result', {
      request_id: list.request_id,
      datasets: [{ name: 'ä b.csv', size: 3 }],
      next: 'ä b.csv',
    });
    expect((await listing).json()).toEqual({ datasets: [{ name: 'ä b.csv', size: 3 }], next: 'ä b.csv' });
    const head = call(router.url, 'HEAD', `/connectors/${MAC}/datasets/${encodeURIComponent('ä b.csv')}`);
    const stat = await node.next();
    expect(stat).toMatchObject({ command: 'stat', dataset_name: 'ä b.csv' });
    await node.post('/datasets/result', {
      request_id: stat.request_id,
      dataset: { name: 'ä b.csv', size: 3, etag: '"e"', mtime: '2026-01-02T03:04:05Z' },
    });
    expect((await head).headers).toMatchObject({
      'content-length': '3',
      etag: '"e"',
      'last-modified': 'Fri, 02 Jan 2026 03:04:05 GMT',
    });
  });
});
