import { describe, expect, test } from '@jest/globals';
import type { Mac } from '../../../src/protocol/mac.ts';
import { signToken } from '../../../src/router/access/token.ts';
import type { LimitSettings } from '../../../src/router/limits/settings.ts';
import { Crowd } from '../../support/crowd.ts';
import { untilMetric, readMetric } from '../../support/metrics.ts';
import { Neighbour, NEIGHBOUR_MAC } from '../../support/neighbour.ts';
import { ask, call } from '../../support/plain-app.ts';
import { MAC, PlainConnector } from '../../support/plain-connector.ts';
import { LIMITS, startRouter } from '../../support/router.ts';

const SECRET = 'a secret of more than thirty-two characters';
const STREAM = '/datasets/request-stream';
const OTHER_MAC = 'cc-28-aa-01-02-04';

const app = (): Promise<string> => signToken({ role: 'app', macs: ['*'], datasets: ['**'] }, SECRET);
const connector = (mac: string): Promise<string> => signToken({ role: 'connector', macs: [mac as Mac] }, SECRET);
const bearer = (token: string): { Authorization: string } => ({ Authorization: `Bearer ${token}` });

/** A router that asks for tokens, with a neighbour, and a connector that only takes commands. */
async function startScene(limits: Partial<LimitSettings>) {
  const stack = new AsyncDisposableStack();
  const router = stack.use(await startRouter({ secrets: () => SECRETS, limits: { ...LIMITS, ...limits } }));
  const neighbour = stack.use(
    await Neighbour.start(router.url, { connector: await connector(NEIGHBOUR_MAC), app: await app() }),
  );
  const node = stack.use(await PlainConnector.connect(router.url, { token: await connector(MAC) }));
  const monitor = await signToken({ role: 'monitor', macs: ['*'] }, SECRET);
  const metric = (name: string): Promise<number> => readMetric(router.url, name, monitor);
  const until = (name: string, wanted: number): Promise<void> => untilMetric(router.url, name, wanted, monitor);
  return { url: router.url, neighbour, node, metric, until, [Symbol.asyncDispose]: () => stack.disposeAsync() };
}
const SECRETS = [SECRET];

const refused = (reason: string): string => `relay_refused_total{reason="${reason}"}`;
const PENDING = 'relay_pending_exchanges';

describe('requests of one client', () => {
  test('are held up to its limit; more are told when to come back, and nobody else notices', async () => {
    await using scene = await startScene({ maxRequestsPerClient: 5 });
    const headers = bearer(await app());
    const held = Array.from({ length: 5 }, () => ask(scene.url, STREAM, undefined, headers));
    for (const _ of held) await scene.node.next();
    const more = await Promise.all(Array.from({ length: 50 }, () => ask(scene.url, STREAM, undefined, headers).answer));
    for (const each of more) {
      expect([each.status, each.headers['retry-after'], each.headers['content-type']]).toEqual([
        429,
        '5',
        'application/problem+json',
      ]);
      expect(each.json()).toMatchObject({ code: 'too_many_requests', retryable: true, retry_after: 5 });
    }
    expect(await scene.metric(refused('requests_per_client'))).toBe(50);
    await scene.neighbour.served(3);
    for (const each of held) each.request.destroy();
    const again = (): Promise<{ status: number }> => call(scene.url, 'GET', '/connectors', headers);
    while ((await again()).status !== 200);
    await scene.neighbour[Symbol.asyncDispose]();
    await scene.until(PENDING, 0);
    expect(await scene.metric('relay_held_requests{side="app"}')).toBe(0);
  });

  test('count while they are asked about, and while they run without anybody asking', async () => {
    await using scene = await startScene({ maxRequestsPerClient: 3 });
    const headers = bearer(await app());
    const path = '/datasets/request-offload';
    const begun = [];
    for (let count = 0; count < 2; count++) {
      begun.push(await ask(scene.url, path, undefined, { ...headers, Prefer: 'respond-async' }).answer);
      await scene.node.next();
    }
    expect(begun.map(({ status }) => status)).toEqual([202, 202]);
    const id = String(begun[0]?.json()['request_id']);
    const polling = call(scene.url, 'GET', `/requests/${id}?wait=50`, headers);
    while ((await call(scene.url, 'GET', `/requests/${id}`, headers)).status !== 429);
    await scene.neighbour.served(2);
    await scene.node.post('/datasets/result', { request_id: id, error: { code: 'dataset_not_found', message: 'no' } });
    expect((await polling).json()).toMatchObject({ state: 'failed' });
    // The poll and what it asked about are over, and their places free.
    const other = String(begun[1]?.json()['request_id']);
    while ((await call(scene.url, 'DELETE', `/requests/${other}`, headers)).status !== 204);
    await scene.neighbour[Symbol.asyncDispose]();
    await scene.until('relay_held_requests{side="app"}', 0);
  });
});

test('requests of all clients together have a limit too, which leaves watching and answering free', async () => {
  await using scene = await startScene({ maxRequests: 5 });
  await scene.neighbour.served(1);
  await scene.neighbour[Symbol.asyncDispose]();
  const held = [];
  for (let count = 0; count < 5; count++) {
    held.push(ask(scene.url, '/datasets/request-sync', undefined, bearer(await app())));
  }
  const ids = [];
  for (const _ of held) ids.push((await scene.node.next()).request_id);
  const more = await ask(scene.url, STREAM, undefined, bearer(await app())).answer;
  expect([more.status, more.headers['retry-after'], more.json()['code']]).toEqual([503, '5', 'overloaded']);
  expect((await call(scene.url, 'GET', '/healthz')).status).toBe(200);
  expect(await scene.metric(refused('requests'))).toBe(1);
  for (const request_id of ids) await scene.node.post('/datasets/result', { request_id, data: 'x' });
  for (const each of held) expect((await each.answer).status).toBe(200);
  await scene.until('relay_held_requests{side="app"}', 0);
});

test('requests for one connector have a limit, and those for others pass by', async () => {
  await using scene = await startScene({ maxRequestsPerConnector: 4 });
  const headers = bearer(await app());
  const held = Array.from({ length: 4 }, () => ask(scene.url, STREAM, undefined, headers));
  for (const _ of held) await scene.node.next();
  const refusals = [
    await ask(scene.url, STREAM, undefined, headers).answer,
    await call(scene.url, 'GET', `/connectors/${MAC}/datasets/a.csv`, headers),
  ];
  for (const more of refusals) {
    expect([more.status, more.headers['retry-after'], more.json()]).toEqual([
      503,
      '5',
      expect.objectContaining({ code: 'overloaded', detail: expect.stringContaining(`${MAC} has 4 requests`) }),
    ]);
    // What is refused in masses pushes no other request out of the log.
    const id = String(more.headers['relay-request-id']);
    expect((await call(scene.url, 'GET', `/requests/${id}`, headers)).status).toBe(410);
  }
  await scene.neighbour.served(3);
  await using other = await PlainConnector.connect(scene.url, { mac: OTHER_MAC, token: await connector(OTHER_MAC) });
  const passing = ask(scene.url, '/datasets/request-sync', { mac: OTHER_MAC, dataset: 'a' }, headers);
  await other.post('/datasets/result', { request_id: (await other.next()).request_id, data: 'x' });
  expect((await passing.answer).status).toBe(200);
  expect(await scene.metric(refused('requests_per_connector'))).toBe(2);
  for (const each of held) each.request.destroy();
  await scene.neighbour[Symbol.asyncDispose]();
  await scene.until(PENDING, 0);
});

test('an app that pipelines is held to its limit, and leaves nothing behind when it goes', async () => {
  await using scene = await startScene({ maxRequestsPerClient: 3 });
  const token = await app();
  const body = JSON.stringify({ mac: MAC, dataset: 'a.csv' });
  const one = `POST ${STREAM} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${token}\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
  await using crowd = new Crowd(scene.url);
  await crowd.join(1, one.repeat(40));
  for (let count = 0; count < 3; count++) await scene.node.next();
  await scene.until(refused('requests_per_client'), 37);
  await scene.neighbour.served(2);
  await crowd[Symbol.asyncDispose]();
  await scene.neighbour[Symbol.asyncDispose]();
  await scene.until('relay_held_requests{side="app"}', 0);
  await scene.until(PENDING, 0);
  expect(await scene.metric(refused('requests_per_client'))).toBe(37);
});

test('memory for JSON bodies has a limit: a body beyond it is refused, and the others go on', async () => {
  await using scene = await startScene({ bodyTotalBytes: 1_000_000 });
  const asked = ask(scene.url, STREAM, undefined, bearer(await app()));
  const { request_id } = await scene.node.next();
  const large = JSON.stringify({ request_id, offset: 0, data: 'x'.repeat(1_500_000) });
  const got = await fetch(`${scene.url}/datasets/stream/chunk`, {
    method: 'POST',
    headers: bearer(await connector(MAC)),
    body: large,
  });
  expect([got.status, got.headers.get('retry-after')]).toEqual([503, '5']);
  expect(await got.json()).toMatchObject({ code: 'overloaded' });
  await scene.neighbour.served(2);
  const reply = await scene.node.post('/datasets/stream/chunk', { request_id, offset: 0, data: 'abc' });
  expect(reply).toMatchObject({ status: 200, body: { next_offset: 3 } });
  await scene.node.post('/datasets/stream/complete', { request_id, total_size: 3 });
  expect((await asked.answer).bytes.toString()).toBe('abc');
  expect(await scene.metric(refused('memory'))).toBe(1);
});

test('a body that trickles is silence', async () => {
  await using router = await startRouter({ silenceTimeoutMs: 400 });
  await using neighbour = await Neighbour.start(router.url);
  await using node = await PlainConnector.connect(router.url);
  const asked = ask(router.url, STREAM);
  const { request_id } = await node.next();
  const post = node.begin('/datasets/stream/chunk', request_id, { 'Relay-Offset': 0, 'Relay-Total-Size': 1_000_000 });
  const trickle = setInterval(() => post.request.write('x'), 50);
  post.request.on('error', () => {});
  const answer = await asked.answer;
  clearInterval(trickle);
  expect(answer.error).toBeDefined();
  expect(await post.reply).toMatchObject({ status: 504, body: { code: 'request_timeout' } });
  post.request.destroy();
  await neighbour.served(1);
  await neighbour[Symbol.asyncDispose]();
  await untilMetric(router.url, PENDING, 0);
  expect(await readMetric(router.url, 'relay_requests_total{pattern="stream",code="request_timeout"}')).toBe(1);
});
