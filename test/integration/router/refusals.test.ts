import { describe, expect, test } from '@jest/globals';
import { once } from 'node:events';
import http, { type IncomingMessage } from 'node:http';
import { WebSocket } from 'ws';
import { readMetric } from '../../support/metrics.ts';
import { ask, call, speak } from '../../support/plain-app.ts';
import { MAC, PlainConnector, type RawCommand } from '../../support/plain-connector.ts';
import { startRouter } from '../../support/router.ts';

const SYNC = '/datasets/request-sync';

describe('an upgrade that there is none of', () => {
  test.each([
    ['GET', '/healthz', 'h2c', '', /^HTTP\/1\.1 200 [^]*"status":"ok"/],
    ['GET', '/healthz', 'websocket', '', /^HTTP\/1\.1 200 /],
    ['GET', '/nothing', 'websocket', '', /^HTTP\/1\.1 404 [^]*"not_found"/],
    ['GET', `/connectors/${MAC}/socket`, 'h2c', '', /^HTTP\/1\.1 400 [^]*this endpoint is a WebSocket/],
    ['POST', SYNC, 'h2c', `{"mac":"${MAC}","dataset":"a.csv"}`, /^HTTP\/1\.1 503 [^]*"connector_offline"/],
  ])('is ignored, and the request answered: %s %s to %s', async (method, path, protocol, body, answer) => {
    await using router = await startRouter();
    const { host } = new URL(router.url);
    const head =
      `${method} ${path} HTTP/1.1\r\nHost: ${host}\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: ${protocol}\r\n` +
      `HTTP2-Settings: AAMAAABkAAQAAP__\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
    const { text } = await speak(router.url, head);
    expect(text).toMatch(answer);
    expect(text).toMatch(/\r\nConnection: close\r\n/i);
  });
});

describe('refusals', () => {
  test.each([
    ['a MAC that is none', { mac: 'cc-28', dataset: 'a' }, /mac/],
    ['a missing MAC', { dataset: 'a' }, /mac/],
    ['a missing dataset', { mac: MAC }, /dataset/],
    ['a dataset that climbs out', { mac: MAC, dataset: '../etc/passwd' }, /dataset/],
    ['an absolute dataset', { mac: MAC, dataset: '/etc/passwd' }, /dataset/],
    ['an empty dataset', { mac: MAC, dataset: '' }, /dataset/],
    ['a NUL in a dataset', { mac: MAC, dataset: 'a\0b' }, /NUL/],
    ['malformed JSON', '{"mac":', /JSON/],
    ['an array', '[]', /object/],
    ['nothing', '', /JSON/],
  ])('400 for %s, naming what is wrong', async (_, body, detail) => {
    await using router = await startRouter();
    const got = await ask(router.url, SYNC, body).answer;
    expect(got.status).toBe(400);
    expect(got.headers['content-type']).toBe('application/problem+json');
    expect(got.json()).toMatchObject({ code: 'invalid_request', retryable: false, status: 400 });
    expect(got.json()['detail']).toMatch(detail);
  });

  test('400 for a body that is no UTF-8, or too large', async () => {
    await using router = await startRouter();
    const latin1 = await fetch(`${router.url}${SYNC}`, {
      method: 'POST',
      body: Buffer.from('{"mac":"\xff"}', 'latin1'),
    });
    expect(latin1.status).toBe(400);
    expect((await ask(router.url, SYNC, `"${'x'.repeat(2_000_000)}"`).answer).status).toBe(400);
  });

  test('counts JSON bodies over their limits, whoever sends them', async () => {
    await using router = await startRouter({ bufferMaxBytes: 1000 });
    await using node = await PlainConnector.connect(router.url);
    const body_size = 'relay_refused_total{reason="body_size"}';
    expect((await ask(router.url, SYNC, `"${'x'.repeat(2_000_000)}"`).answer).status).toBe(400);
    expect(await readMetric(router.url, body_size)).toBe(1);
    const { answer } = ask(router.url, SYNC);
    const { request_id } = await node.next();
    const json = { 'Content-Type': 'application/json', 'Content-Length': 9_000_000 };
    const chunk = http.request(`${router.url}/datasets/stream/chunk`, { method: 'POST', headers: json, agent: false });
    chunk.on('error', () => {}).write('{');
    const [told] = (await once(chunk, 'response')) as [IncomingMessage];
    expect(told.statusCode).toBe(400);
    chunk.destroy();
    expect(await readMetric(router.url, body_size)).toBe(2);
    const result = await node.post('/datasets/result', { request_id, data: 'x'.repeat(2_000_000) });
    expect(result).toMatchObject({ status: 413, body: { code: 'dataset_too_large' } });
    expect(await readMetric(router.url, body_size)).toBe(3);
    expect((await answer).status).toBe(413);
    // One that is within them, and wrong, is no such thing.
    expect((await ask(router.url, SYNC, '"x"').answer).status).toBe(400);
    expect(await readMetric(router.url, body_size)).toBe(3);
  });

  test('503 for a MAC never seen, not retryable, and for one that went away, retryable', async () => {
    await using router = await startRouter();
    const never = await ask(router.url, SYNC).answer;
    expect(never.status).toBe(503);
    expect(never.json()).toMatchObject({ code: 'connector_offline', retryable: false, last_seen: null });
    const node = await PlainConnector.connect(router.url);
    await node[Symbol.asyncDispose]();
    const gone = await ask(router.url, SYNC).answer;
    expect(gone.json()).toMatchObject({
      code: 'connector_offline',
      retryable: true,
      last_seen: expect.stringMatching(/^20/),
    });
    expect(gone.headers['retry-after']).toBeDefined();
  });

  test('504 for a connector that does not begin, and for one that falls silent', async () => {
    await using router = await startRouter({ firstByteTimeoutMs: 100, silenceTimeoutMs: 100 });
    await using node = await PlainConnector.connect(router.url, { capabilities: 'cancel' });
    const silent = await ask(router.url, SYNC).answer;
    expect(silent.status).toBe(504);
    expect(silent.json()).toMatchObject({ code: 'request_timeout', retryable: true });
    const { request_id } = await node.next();
    expect(await node.next()).toEqual({ command: 'cancel', request_id });
    const stuck = ask(router.url, SYNC).answer;
    const second = await node.next();
    await node.post('/datasets/stream/chunk', { request_id: second.request_id, data: 'x' });
    expect((await stuck).json()).toMatchObject({ code: 'request_timeout' });
  });

  test('maps a connector’s own failure, and never lets it speak for the router', async () => {
    await using router = await startRouter();
    await using node = await PlainConnector.connect(router.url);
    for (const [code, expected] of [
      ['data_dir_unavailable', 'data_dir_unavailable'],
      ['unauthorized', 'connector_failed'],
      ['made_up', 'connector_failed'],
    ]) {
      const { answer } = ask(router.url, SYNC);
      const { request_id } = await node.next();
      await node.post('/datasets/result', { request_id, error: { code, message: 'because' } });
      const got = await answer;
      expect(got.json()).toMatchObject({ code: expected, request_id });
      expect(got.json()['detail']).toMatch(/because/);
    }
  });

  test.each([
    ['GET', `/connectors/${MAC}/datasets`, 'range_not_satisfiable'],
    ['GET', `/connectors/${MAC}/datasets`, 'store_full'],
    ['HEAD', `/connectors/${MAC}/datasets/a.csv`, 'cancelled'],
    ['HEAD', `/connectors/${MAC}/datasets/a.csv`, 'dataset_too_large'],
    ['GET', `/connectors/${MAC}/datasets/a.csv?via=stream`, 'range_not_satisfiable'],
    ['GET', `/connectors/${MAC}/datasets/a.csv?via=sync`, 'store_unavailable'],
  ])('502 to %s %s for a failure that makes no sense there: %s', async (method, path, code) => {
    await using router = await startRouter();
    await using node = await PlainConnector.connect(router.url, { capabilities: 'list, stat' });
    const app = call(router.url, method, path);
    const { request_id } = await node.next();
    await node.post('/datasets/result', { request_id, error: { code, message: 'because' } });
    const { status, headers, bytes } = await app;
    const problem = headers['relay-problem'] ?? bytes.toString();
    expect([status, JSON.parse(String(problem))]).toEqual([
      502,
      expect.objectContaining({ code: 'connector_failed', detail: `the connector reported "${code}": because` }),
    ]);
  });

  test.each([
    ['sync', 'dataset_too_large', 413],
    ['stream', 'dataset_too_large', 413],
    ['stream', 'not_supported', 501],
    ['stream', 'dataset_changed', 409],
    ['stream', 'overloaded', 503],
    ['offload', 'offload_unavailable', 501],
    ['offload', 'store_full', 507],
    ['offload', 'store_unavailable', 503],
    ['offload', 'dataset_unreadable', 502],
  ])('what a node answers to a request-%s reaches the app: %s', async (pattern, code, expected) => {
    await using router = await startRouter();
    await using node = await PlainConnector.connect(router.url);
    const { answer } = ask(router.url, `/datasets/request-${pattern}`);
    const { request_id } = await node.next();
    await node.post('/datasets/result', { request_id, error: { code, message: 'because' } });
    const { status, json } = await answer;
    expect([status, json()['code']]).toEqual([expected, code]);
  });

  test('416 for one that makes sense, since a part was asked for', async () => {
    await using router = await startRouter();
    await using node = await PlainConnector.connect(router.url, { capabilities: 'range' });
    // An empty dataset has no first byte.
    const app = call(router.url, 'GET', `/connectors/${MAC}/datasets/a.csv?via=stream`, { Range: 'bytes=0-' });
    const { request_id } = await node.next();
    await node.post('/datasets/result', { request_id, error: { code: 'range_not_satisfiable', message: '', size: 0 } });
    expect([(await app).status, (await app).headers['content-range']]).toEqual([416, 'bytes */0']);
  });

  test('410 for an answer to a request that never was', async () => {
    await using router = await startRouter();
    await using node = await PlainConnector.connect(router.url);
    for (const path of ['/datasets/result', '/datasets/stream/init', '/datasets/stream/complete']) {
      expect(await node.post(path, { request_id: 'nobody', total_size: 1 })).toMatchObject({
        status: 410,
        body: { code: 'request_gone' },
      });
    }
    expect((await call(router.url, 'GET', '/requests/00000000-0')).json()).toMatchObject({
      code: 'request_gone',
      retryable: true,
    });
  });

  test('404 for an unknown path, 405 with Allow for a wrong method', async () => {
    await using router = await startRouter();
    expect((await call(router.url, 'GET', '/nothing')).status).toBe(404);
    const wrong = await call(router.url, 'GET', SYNC);
    expect(wrong.status).toBe(405);
    expect(wrong.headers.allow).toBe('POST, OPTIONS');
    const options = await call(router.url, 'OPTIONS', SYNC);
    expect([options.status, options.headers.allow]).toEqual([204, 'POST, OPTIONS']);
    expect((await call(router.url, 'OPTIONS', '/nothing')).status).toBe(404);
    expect((await call(router.url, 'GET', '/connectors/%ff')).status).toBe(400);
  });

  test.each([
    ['a foreign Host', { Host: 'evil.example' }],
    ['a Host that only begins like loopback', { Host: '127.0.0.1.evil.example' }],
    ['a Host with credentials', { Host: 'localhost@evil.example' }],
    ['X-Forwarded-For', { 'X-Forwarded-For': '1.2.3.4' }],
    ['Forwarded', { Forwarded: 'for=1.2.3.4' }],
    ['Via', { Via: '1.1 proxy' }],
    ['any X-Forwarded header', { 'X-Forwarded-Prefix': '/relay' }],
    ['a foreign Origin', { Origin: 'https://evil.example' }],
    ['an opaque Origin', { Origin: 'null' }],
  ])('403 without tokens for %s', async (_, headers) => {
    await using router = await startRouter();
    for (const path of ['/connectors', '/healthz', '/store/objects/x', '/nothing']) {
      const got = await call(router.url, 'GET', path, headers);
      expect([path, got.status, got.json()['code']]).toEqual([path, 403, 'forbidden']);
    }
  });

  test('403 for a cross-site WebSocket', async () => {
    await using router = await startRouter();
    const socket = new WebSocket(`${router.url.replace('http', 'ws')}/connectors/${MAC}/socket`, 'relay.v1', {
      origin: 'https://evil.example',
    });
    const [, response] = (await once(socket, 'unexpected-response')) as [unknown, IncomingMessage];
    expect(response.statusCode).toBe(403);
    socket.on('error', () => {});
    socket.terminate();
  });

  test.each(['localhost', '127.0.0.1:80', '127.9.9.9', '[::1]:8080', 'relay.localhost'])(
    'answers to the loopback name %s',
    async (host) => {
      await using router = await startRouter();
      expect((await call(router.url, 'GET', '/healthz', { Host: host })).status).toBe(200);
      expect((await call(router.url, 'GET', '/healthz', { Host: host, Origin: `http://${host}` })).status).toBe(200);
    },
  );

  test('allows all that when it is told to', async () => {
    await using router = await startRouter({ allowNoAuth: true });
    expect((await call(router.url, 'GET', '/healthz', { Host: 'router.example', Via: '1.1 proxy' })).status).toBe(200);
    expect((await call(router.url, 'GET', '/healthz', { Origin: 'https://evil.example' })).status).toBe(403);
  });

  test('survives requests that are no HTTP', async () => {
    await using router = await startRouter();
    expect((await speak(router.url, 'hello\r\n\r\n')).text).toMatch(/^HTTP\/1.1 400/);
    expect(
      (await speak(router.url, `GET / HTTP/1.1\r\nHost: localhost\r\nX: ${'x'.repeat(100_000)}\r\n\r\n`)).text,
    ).toMatch(/ 431 /);
    expect((await call(router.url, 'GET', '/healthz')).status).toBe(200);
  });

  test('says when it is draining, and finishes what runs', async () => {
    await using router = await startRouter();
    await using node = await PlainConnector.connect(router.url);
    await using idle = await PlainConnector.connect(router.url, { mac: '00-00-00-00-00-0a' });
    const running = ask(router.url, SYNC);
    const { request_id } = await node.next();
    const closed = once(node.socket, 'close');
    const idleClosed = once(idle.socket, 'close');
    const drained = router.router.drain();
    const ready = await call(router.url, 'GET', '/readyz');
    expect([ready.json()['code'], ready.headers.connection]).toEqual(['draining', 'close']);
    expect((await call(router.url, 'GET', '/healthz')).status).toBe(200);
    const refused = await ask(router.url, SYNC).answer;
    expect(refused.json()).toMatchObject({ code: 'draining', retryable: true });
    expect(Number(refused.headers['retry-after'])).toBeGreaterThan(0);
    for (const path of [`/connectors/${MAC}/events`, `/connectors/${MAC}/datasets`]) {
      expect((await call(router.url, 'GET', path)).json()).toMatchObject({ code: 'draining' });
    }
    expect((await idleClosed)[0]).toBe(4002);
    expect(node.socket.readyState).toBe(node.socket.OPEN);
    await node.post('/datasets/result', { request_id, data: 'x' });
    expect((await running.answer).status).toBe(200);
    await drained;
    expect((await closed)[0]).toBe(4002);
  });

  test('serves on for a while where that was asked for, though it says that it is not ready', async () => {
    await using router = await startRouter({ drainDelayMs: 5000 });
    await using node = await PlainConnector.connect(router.url);
    const drained = router.router.drain();
    expect((await call(router.url, 'GET', '/readyz')).status).toBe(503);
    const { answer } = ask(router.url, SYNC);
    await node.post('/datasets/result', { request_id: (await node.next()).request_id, data: 'x' });
    expect((await answer).status).toBe(200);
    await router.router.close();
    await drained;
  });

  test('ends what runs when the time is over, in a way that can be tried again', async () => {
    await using router = await startRouter({ graceMs: 100 });
    await using node = await PlainConnector.connect(router.url);
    const running = ask(router.url, SYNC);
    await node.next();
    const closed = once(node.socket, 'close');
    await router.router.drain();
    expect((await running.answer).json()).toMatchObject({ code: 'draining', retryable: true });
    expect((await closed)[0]).toBe(4002);
  });

  test.each([
    ['closed', (node: PlainConnector) => node.socket.close(1000)],
    ['lost', (node: PlainConnector) => node.socket.terminate()],
  ])('counts why links ended: %s', async (reason, end) => {
    await using router = await startRouter();
    await using node = await PlainConnector.connect(router.url);
    await using newer = await PlainConnector.connect(router.url);
    end(newer);
    await once(newer.socket, 'close');
    if (node.socket.readyState !== node.socket.CLOSED) await once(node.socket, 'close');
    let text: string;
    do text = (await call(router.url, 'GET', '/metrics')).bytes.toString();
    while (!text.includes(`relay_link_closed_total{kind="websocket",reason="${reason}"} 1`));
    expect(text).toContain('relay_link_closed_total{kind="websocket",reason="replaced"} 1');
  });

  test('counts who was refused', async () => {
    await using router = await startRouter();
    expect((await call(router.url, 'GET', '/connectors', { Origin: 'http://evil.example' })).status).toBe(403);
    const text = (await call(router.url, 'GET', '/metrics')).bytes.toString();
    expect(text).toMatch(/^relay_auth_failures_total\{reason="forbidden"\} 1$/m);
  });

  test('serves metrics that name no MAC', async () => {
    await using router = await startRouter();
    await using node = await PlainConnector.connect(router.url);
    const { answer } = ask(router.url, SYNC);
    await node.post('/datasets/result', { request_id: (await node.next()).request_id, data: 'abc' });
    await answer;
    const text = (await call(router.url, 'GET', '/metrics')).bytes.toString();
    expect(text).toMatch(/^relay_requests_total\{pattern="sync",code="ok"\} 1$/m);
    expect(text).toMatch(/^relay_connectors\{state="online"\} 1$/m);
    expect(text).toMatch(/^relay_request_begin_seconds_count\{pattern="sync"\} 1$/m);
    expect(text).toMatch(/^relay_build_info\{version="0.0.0-test",node="[\d.]+"\} 1$/m);
    expect(text).toMatch(/^relay_store_bytes 0$/m);
    expect(text).not.toContain(MAC);
  });

  test('serves metrics with the bytes and the times of what there was', async () => {
    await using router = await startRouter();
    await using node = await PlainConnector.connect(router.url);
    const begunAt = performance.now();
    for (const data of ['abc', 'defgh']) {
      const { answer } = ask(router.url, SYNC);
      await node.post('/datasets/result', { request_id: (await node.next()).request_id, data });
      await answer;
    }
    const offload = ask(router.url, '/datasets/request-offload');
    const { request_id, upload } = (await node.next()) as RawCommand & {
      upload: { url: string; headers: Record<string, string>; download_url: string };
    };
    const put = { method: 'PUT', headers: upload.headers, body: 'x'.repeat(1234) };
    expect((await fetch(upload.url, put)).status).toBe(200);
    await node.post('/datasets/result', { request_id, download_url: upload.download_url, size: 1234 });
    expect((await offload.answer).status).toBe(200);
    const seconds = (performance.now() - begunAt) / 1000;
    const metric = (name: string): Promise<number> => readMetric(router.url, name);
    expect(await metric('relay_store_bytes')).toBe(1234);
    expect(await metric('relay_buffered_bytes')).toBe(0);
    for (const [pattern, count, bytes] of [
      ['sync', 2, 8],
      ['offload', 1, 1234],
    ]) {
      expect(await metric(`relay_dataset_bytes_total{pattern="${pattern}"}`)).toBe(bytes);
      expect(await metric(`relay_request_duration_seconds_count{pattern="${pattern}"}`)).toBe(count);
      expect(await metric(`relay_request_duration_seconds_bucket{le="+Inf",pattern="${pattern}"}`)).toBe(count);
      const sum = await metric(`relay_request_duration_seconds_sum{pattern="${pattern}"}`);
      expect(sum).toBeGreaterThan(0);
      expect(sum).toBeLessThan(seconds);
    }
    const [began, lasted] = await Promise.all(
      ['begin', 'duration'].map((what) => metric(`relay_request_${what}_seconds_sum{pattern="sync"}`)),
    );
    expect(began).toBeGreaterThan(0);
    expect(began).toBeLessThanOrEqual(Number(lasted));
    // Of pattern C the router does not see when the first bytes come.
    expect(await metric('relay_request_begin_seconds_count{pattern="offload"}')).toBe(0);
  });
});

describe('every answer to an app', () => {
  test.each([
    ['GET', '/connectors'],
    ['GET', '/connectors/not-a-mac'],
    ['GET', '/nothing'],
    ['DELETE', '/connectors'],
    ['HEAD', `/connectors/${MAC}/datasets/x`],
  ])('carries a request id: %s %s', async (method, path) => {
    await using router = await startRouter();
    const { headers } = await call(router.url, method, path);
    expect(headers['relay-request-id']).toMatch(/^[0-9a-f]{8}-[0-9a-f]{32}$/);
  });

  test('which is not that of a connector’s POST: its reply names the request that it answers', async () => {
    await using router = await startRouter();
    const gone = await call(router.url, 'POST', '/datasets/offload/progress', { 'Content-Length': 0 });
    expect([gone.status, gone.headers['relay-request-id'], gone.json()['request_id']]).toEqual([
      400,
      undefined,
      undefined,
    ]);
    await using node = await PlainConnector.connect(router.url);
    const reply = await node.post('/datasets/result', { request_id: 'nobody', data: 'x' });
    expect(reply).toMatchObject({ status: 410, body: { request_id: 'nobody' } });
  });

  test('leaves a kept-alive connection open after a refused GET', async () => {
    await using router = await startRouter();
    const two =
      'GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\nGET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n';
    expect((await speak(router.url, two)).text).toMatch(/ 404 [^]* 200 OK/);
  });

  test('leaves out of HEAD what a plain connector cannot say', async () => {
    await using router = await startRouter();
    await using _node = await PlainConnector.connect(router.url);
    const got = await call(router.url, 'HEAD', `/connectors/${MAC}/datasets/x`);
    expect([got.status, got.headers['content-length'], got.headers['accept-ranges']]).toEqual([200, undefined, 'none']);
  });
});
