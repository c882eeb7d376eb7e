import { createHash, randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import type { Transport } from '../../../src/connector/options.ts';
import { FarLine } from '../../support/far-line.ts';
import { ObstructingProxy } from '../../support/obstructing-proxy.ts';
import { startOwnConnector } from '../../support/own-connector.ts';
import { ask, call } from '../../support/plain-app.ts';
import { MAC, PlainConnector } from '../../support/plain-connector.ts';
import { makeTempDir, startRouter } from '../../support/router.ts';
import { RunningConnector } from '../../unit/connector/support-connector.ts';

const MIB = 1024 * 1024;

async function makeSite(
  delayMs: number,
  options: { transport?: Transport; maxParallel?: number } = {},
): Promise<AsyncDisposable & { url: string; bytes: Buffer; line: FarLine }> {
  const resources = new AsyncDisposableStack();
  const { url } = resources.use(await startRouter());
  const line = resources.use(await FarLine.to(url, delayMs));
  const bytes = randomBytes(24 * MIB + 12_345);
  resources.use(await startOwnConnector(line.url, bytes, options));
  return { url, bytes, line, [Symbol.asyncDispose]: () => resources.disposeAsync() };
}

describe.each(['websocket', 'sse'] as const)('over a long way, by %s', (transport) => {
  test('a dataset comes by several connections, whole, in order and with its digest', async () => {
    await using site = await makeSite(25, { transport });
    const answer = await ask(site.url, '/datasets/request-stream', undefined, { 'Want-Repr-Digest': 'sha-256=1' })
      .answer;
    expect(answer.bytes.equals(site.bytes)).toBe(true);
    const digest = createHash('sha256').update(site.bytes).digest('base64');
    expect({ ...answer.headers, ...answer.trailers }['repr-digest']).toBe(`sha-256=:${digest}:`);
    expect(site.line.mostBusy).toBeGreaterThan(2);
  });
});

test('a part comes so too', async () => {
  await using site = await makeSite(25);
  const from = 3 * MIB + 1;
  const answer = await call(site.url, 'GET', `/connectors/${MAC}/datasets/a.csv`, { Range: `bytes=${from}-` });
  expect(answer.status).toBe(206);
  expect(answer.bytes.equals(site.bytes.subarray(from))).toBe(true);
  expect(site.line.mostBusy).toBeGreaterThan(2);
});

test('behind a proxy that takes bodies of 1 MiB it comes so in shorter chunks, and the next one without a refusal', async () => {
  await using router = await startRouter();
  await using proxy = await ObstructingProxy.to(router.url, { refuseAbove: MIB });
  await using line = await FarLine.to(proxy.url.href, 25);
  await using data = await makeTempDir();
  const bytes = randomBytes(12 * MIB + 12_345);
  await writeFile(join(data.path, 'a.csv'), bytes);
  const way = { routerUrl: new URL(line.url), dataDir: data.path, transport: 'sse' } as const;
  await using _ = await RunningConnector.online(way);
  const first = await ask(router.url, '/datasets/request-stream').answer;
  expect(first.bytes.equals(bytes)).toBe(true);
  const refused = proxy.list('refused').length;
  expect(refused).toBeGreaterThan(0);
  line.mostBusy = 0;
  const second = await ask(router.url, '/datasets/request-stream').answer;
  expect(second.bytes.equals(bytes)).toBe(true);
  expect(proxy.list('refused')).toHaveLength(refused);
  expect(line.mostBusy).toBeGreaterThan(2);
  expect(Math.max(...proxy.list('passed').map(({ length }) => length))).toBe(MIB / 2);
});

test('where not even the shortest gets through, the failure says which setting to change', async () => {
  await using router = await startRouter();
  await using proxy = await ObstructingProxy.to(router.url, { refuseAbove: MIB / 8 });
  await using line = await FarLine.to(proxy.url.href, 25);
  await using data = await makeTempDir();
  await writeFile(join(data.path, 'a.csv'), randomBytes(5 * MIB));
  const way = { routerUrl: new URL(line.url), dataDir: data.path, transport: 'sse' } as const;
  await using _ = await RunningConnector.online(way);
  const { status, bytes } = await ask(router.url, '/datasets/request-stream').answer;
  expect([status, bytes.toString()]).toEqual([502, expect.stringContaining('client_max_body_size')]);
});

test('nearby, and where that is turned off, one connection is enough', async () => {
  for (const [delayMs, options] of [
    [0, {}],
    [25, { maxParallel: 1 }],
  ] as const) {
    await using site = await makeSite(delayMs, options);
    const answer = await ask(site.url, '/datasets/request-stream').answer;
    expect(answer.bytes.equals(site.bytes)).toBe(true);
    expect(site.line.mostBusy).toBe(1);
  }
});

test('an app that reads slowly holds all of them back', async () => {
  await using site = await makeSite(25);
  const { response } = ask(site.url, '/datasets/request-stream');
  const message = await response;
  const hash = createHash('sha256');
  for await (const piece of message) {
    hash.update(piece as Buffer);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  expect(hash.digest('hex')).toBe(createHash('sha256').update(site.bytes).digest('hex'));
});

describe('a connector that sends side by side', () => {
  const CAPABILITIES = 'binary, offset, range, parallel';

  test('is told the window by the command and by every answer, and may send in any order', async () => {
    await using router = await startRouter();
    await using node = await PlainConnector.connect(router.url, { capabilities: CAPABILITIES });
    const app = ask(router.url, '/datasets/request-stream');
    const { request_id: id, window_end } = await node.next();
    expect(window_end).toBe(32 * MIB);
    const complete = node.post('/datasets/stream/complete', { request_id: id, total_size: 9 });
    const late = await node.postBytes('/datasets/stream/chunk', id, 'ghi', {
      'Relay-Offset': '6',
      'Relay-Total-Size': '9',
    });
    expect(late).toMatchObject({ status: 200, body: { next_offset: 0, window_end: 32 * MIB } });
    const json = await node.post('/datasets/stream/chunk', { request_id: id, offset: 3, data: 'def' });
    expect(json.body).toMatchObject({ next_offset: 0 });
    const init = await node.post('/datasets/stream/init', { request_id: id, total_size: 9 });
    expect(init.body).toMatchObject({ next_offset: 0, window_end: 32 * MIB });
    const first = await node.postBytes('/datasets/stream/chunk', id, 'abc', { 'Relay-Offset': '0' });
    expect(first.body).toMatchObject({ next_offset: 9 });
    expect((await complete).status).toBe(200);
    expect((await app.answer).bytes.toString()).toBe('abcdefghi');
  });

  test('is refused beyond the window, and told where it ends', async () => {
    await using router = await startRouter();
    await using node = await PlainConnector.connect(router.url, { capabilities: CAPABILITIES });
    const app = ask(router.url, '/datasets/request-stream');
    const { request_id: id } = await node.next();
    const headers = { 'Relay-Offset': String(32 * MIB), 'Relay-Total-Size': String(64 * MIB) };
    const beyond = await node.postBytes('/datasets/stream/chunk', id, 'x', headers);
    expect([beyond.status, beyond.body]).toEqual([
      409,
      expect.objectContaining({ code: 'offset_mismatch', next_offset: 0, window_end: 32 * MIB }),
    ]);
    app.request.destroy();
  });

  test('fails the request when the sizes that its parts tell differ', async () => {
    await using router = await startRouter();
    await using node = await PlainConnector.connect(router.url, { capabilities: CAPABILITIES });
    const app = ask(router.url, '/datasets/request-stream');
    const { request_id: id } = await node.next();
    await node.postBytes('/datasets/stream/chunk', id, 'ghi', { 'Relay-Offset': '6', 'Relay-Total-Size': '9' });
    const other = await node.postBytes('/datasets/stream/chunk', id, 'abc', {
      'Relay-Offset': '0',
      'Relay-Total-Size': '8',
    });
    expect([other.status, other.body['code']]).toEqual([409, 'dataset_changed']);
    expect((await app.answer).status).toBe(409);
  });

  test('lets go of what it held when the app goes away', async () => {
    await using router = await startRouter();
    await using node = await PlainConnector.connect(router.url, { capabilities: `${CAPABILITIES}, cancel` });
    const app = ask(router.url, '/datasets/request-stream');
    const { request_id: id } = await node.next();
    const headers = { 'Relay-Offset': '6', 'Relay-Total-Size': '9' };
    await node.postBytes('/datasets/stream/chunk', id, 'ghi', headers);
    app.request.destroy();
    expect(await node.next()).toMatchObject({ command: 'cancel', request_id: id });
    expect((await node.postBytes('/datasets/stream/chunk', id, 'ghi', headers)).status).toBe(410);
  });
});
