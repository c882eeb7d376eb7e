import { createHash, randomBytes } from 'node:crypto';
import { appendFile, rename, truncate, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { digestOf } from '../../unit/client/stub-server.ts';
import { FarLine } from '../../support/far-line.ts';
import { type AppAnswer, ask, call } from '../../support/plain-app.ts';
import { MAC, PlainConnector } from '../../support/plain-connector.ts';
import { startRouter } from '../../support/router.ts';
import { SlowLine } from '../../support/slow-line.ts';
import { RunningConnector } from '../../unit/connector/support-connector.ts';
import { Sandbox } from '../../unit/connector/support-dir.ts';

const CONTENT = randomBytes(3_000_000);
const MORE = randomBytes(50_000);
const PREFIX = { mac: MAC, dataset: 'log', on_change: 'prefix' };
const BYTES = { Accept: 'application/octet-stream' };
const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');

let resources: AsyncDisposableStack;
let url: string;
let file: string;
let line: SlowLine;
let connect: () => Promise<RunningConnector>;

beforeEach(async () => {
  resources = new AsyncDisposableStack();
  const router = resources.use(await startRouter());
  const sandbox = resources.use(await Sandbox.create({ log: CONTENT }));
  line = resources.use(await SlowLine.to(router.url));
  url = router.url;
  file = join(sandbox.data, 'log');
  connect = async () => {
    const options = { routerUrl: new URL(line.url), dataDir: sandbox.data, transport: 'websocket' } as const;
    return resources.use(await RunningConnector.online(options));
  };
});
afterEach(() => resources.disposeAsync());

const get = (headers: Record<string, string> = {}, method = 'GET', query = '?on_change=prefix'): Promise<AppAnswer> =>
  call(url, method, `/connectors/${MAC}/datasets/log${query}`, headers);
const statusOf = async ({ headers }: AppAnswer): Promise<Record<string, unknown>> =>
  (await call(url, 'GET', `/requests/${headers['relay-request-id']}?wait=5`)).json();

/** Asks, changes the dataset in the middle of the transfer, and lets it go on. */
async function askWhile(path: string, change: () => Promise<void>, headers = {}, body: object = PREFIX) {
  line.hold();
  const { answer } = ask(url, path, body, headers);
  await line.stalled;
  await change();
  line.release();
  return answer;
}

const grow = (): Promise<void> => appendFile(file, MORE);
const CHANGES: [string, () => Promise<void>][] = [
  ['is cut', () => truncate(file, 2_000_000)],
  ['is emptied and grows beyond what it was', () => writeFile(file, randomBytes(CONTENT.length + 1))],
  [
    'is replaced',
    async () => {
      await writeFile(`${file}.new`, Buffer.concat([CONTENT, MORE]));
      await rename(`${file}.new`, file);
    },
  ],
];

describe('a dataset that grows while it is sent, with on_change prefix', () => {
  test('comes by pattern A as it was when it was opened, which the answer says', async () => {
    await connect();
    const answer = await askWhile('/datasets/request-sync', grow, BYTES);
    expect([answer.status, sha256(answer.bytes)]).toEqual([200, sha256(CONTENT)]);
    expect(answer.headers).toMatchObject({
      'relay-on-change': 'prefix',
      'relay-current-size': String(CONTENT.length + MORE.length),
      etag: expect.stringMatching(/^"prefix-3000000-/),
    });
  });

  test('comes by pattern A in JSON, which says so too', async () => {
    await connect();
    const answer = (await askWhile('/datasets/request-sync', grow)).json();
    expect(answer).toMatchObject({
      size: CONTENT.length,
      on_change: 'prefix',
      current_size: CONTENT.length + MORE.length,
    });
  });

  test('comes by pattern B, with its digest, and the status of the request says how far it has grown', async () => {
    await connect();
    const wish = { 'Want-Repr-Digest': 'sha-256=1', Prefer: 'length' };
    const answer = await askWhile('/datasets/request-stream', grow, wish);
    expect([answer.status, answer.error, sha256(answer.bytes)]).toEqual([200, undefined, sha256(CONTENT)]);
    expect(answer.headers).toMatchObject({ 'relay-on-change': 'prefix', 'content-length': String(CONTENT.length) });
    expect(await statusOf(answer)).toMatchObject({
      state: 'done',
      total_size: CONTENT.length,
      on_change: 'prefix',
      current_size: CONTENT.length + MORE.length,
      digest: digestOf(CONTENT),
    });
  });

  test('goes to the store by pattern C as it was, apart from the whole', async () => {
    await connect();
    const wish = { 'Want-Repr-Digest': 'sha-256=1' };
    const answer = (await askWhile('/datasets/request-offload', grow, wish)).json();
    expect(answer).toMatchObject({
      size: CONTENT.length,
      on_change: 'prefix',
      current_size: CONTENT.length + MORE.length,
      digest: digestOf(CONTENT),
    });
    const stored = await call(String(answer['download_url']), 'GET', '');
    expect(sha256(stored.bytes)).toBe(sha256(CONTENT));
    const whole = await ask(url, '/datasets/request-offload', { mac: MAC, dataset: 'log' }).answer;
    expect(whole.json()).toMatchObject({ size: CONTENT.length + MORE.length });
    expect(whole.json()).not.toHaveProperty('on_change');
    // The same beginning again is there already.
    const sent = line.passed;
    const same = { 'If-Match': String(answer['etag']) };
    const renewed = (await ask(url, '/datasets/request-offload', PREFIX, same).answer).json();
    expect(renewed).toMatchObject({ size: CONTENT.length, etag: answer['etag'], on_change: 'prefix' });
    expect(line.passed - sent).toBeLessThan(100_000);
  });

  test('comes over several connections at once as it was', async () => {
    const far = resources.use(await FarLine.to(url, 25));
    const large = randomBytes(24 * 1024 * 1024 + 12_345);
    await writeFile(file, large);
    const options = { routerUrl: new URL(far.url), dataDir: dirname(file), transport: 'websocket' } as const;
    resources.use(await RunningConnector.online(options));
    const { answer, received } = ask(url, '/datasets/request-stream', PREFIX, { 'Want-Repr-Digest': 'sha-256=1' });
    await received(1);
    await grow();
    const { bytes, error, trailers } = await answer;
    expect([error, sha256(bytes)]).toEqual([undefined, sha256(large)]);
    expect(trailers['repr-digest']).toBe(digestOf(large));
    expect(far.mostBusy).toBeGreaterThan(2);
  });

  describe.each(['sync', 'stream', 'offload'])('and comes by request-%s', (kind) => {
    test.each(CHANGES)('fails when it %s', async (_, change) => {
      await connect();
      const answer = await askWhile(`/datasets/request-${kind}`, change);
      if (kind === 'stream') expect(answer.error).toBeDefined();
      else expect(answer.status).toBe(409);
      expect(await statusOf(answer)).toMatchObject({ state: 'failed', error: { code: 'dataset_changed' } });
    });
  });

  test('fails without it, as it always did', async () => {
    await connect();
    const answer = await askWhile('/datasets/request-stream', grow, {}, { mac: MAC, dataset: 'log' });
    expect(answer.error).toBeDefined();
    expect(answer.headers).not.toHaveProperty('relay-on-change');
    const status = await statusOf(answer);
    expect(status['error']).toMatchObject({ code: 'dataset_changed' });
    expect(status).not.toHaveProperty('on_change');
  });

  test('goes on when another process of its connector takes over', async () => {
    const first = await connect();
    line.hold();
    const { answer } = ask(url, '/datasets/request-stream', PREFIX);
    await line.stalled;
    await grow();
    await first.connector.close();
    line.cut();
    line = resources.use(await SlowLine.to(url));
    await connect();
    const { error, bytes } = await answer;
    expect([error, sha256(bytes)]).toEqual([undefined, sha256(CONTENT)]);
  });

  test('small ones go over the link, or in one POST, as they were', async () => {
    await writeFile(file, 'abc');
    await connect();
    const { headers } = await get();
    const tag = headers.etag as string;
    await appendFile(file, 'def');
    for (const [path, more] of [
      ['/datasets/request-sync', BYTES],
      ['/datasets/request-stream', {}],
    ] as const) {
      const answer = await ask(url, path, PREFIX, { 'If-Match': tag, ...more }).answer;
      expect([answer.bytes.toString(), answer.headers.etag]).toEqual(['abc', tag]);
      expect(await statusOf(answer)).toMatchObject({ current_size: 6 });
    }
  });
});

describe('a dataset that has grown, as a resource with ?on_change=prefix', () => {
  const text = 'abcdefghijklmnopqrstuvwxyz';
  let tag: string;
  beforeEach(async () => {
    await writeFile(file, text);
    await connect();
    tag = (await get()).headers.etag as string;
    await appendFile(file, '0123456789');
  });
  const sum = ({ status, bytes, headers }: AppAnswer): unknown[] => [
    status,
    bytes.toString(),
    headers['content-range'],
  ];

  test('gives the rest of what was there, and nothing of what came after', async () => {
    expect(tag).toMatch(/^"prefix-26-[\w-]{22}"$/);
    const rest = { Range: 'bytes=20-', 'If-Match': tag };
    const answer = await get(rest);
    expect(sum(answer)).toEqual([206, 'uvwxyz', 'bytes 20-25/26']);
    expect([answer.headers.etag, answer.headers['relay-on-change']]).toEqual([tag, 'prefix']);
    expect(await statusOf(answer)).toMatchObject({ on_change: 'prefix', current_size: 36 });
    expect(sum(await get({ ...rest, Range: 'bytes=-3' }))).toEqual([206, 'xyz', 'bytes 23-25/26']);
    expect(sum(await get({ ...rest, Range: 'bytes=26-' }))).toMatchObject([416, expect.anything(), 'bytes */26']);
    expect(sum(await get({ 'If-Match': tag }))).toEqual([200, text, undefined]);
    expect(sum(await get({ Range: 'bytes=20-', 'If-Range': tag }))).toEqual([206, 'uvwxyz', 'bytes 20-25/26']);
    // As it is now, where nothing names what it was.
    expect(sum(await get({ Range: 'bytes=-3' }))).toEqual([206, '789', 'bytes 33-35/36']);
    expect((await get({ Range: 'bytes=20-', 'If-Range': '"other"' })).bytes).toHaveLength(36);
    expect((await get({ 'If-None-Match': tag })).bytes).toHaveLength(36);
    const whole = await get({ 'If-Match': tag }, 'GET', '?on_change=prefix&via=sync');
    expect(sum(whole)).toEqual([200, text, undefined]);
    expect(whole.headers['relay-current-size']).toBe('36');
    const { status, headers } = await get({ 'If-Match': tag }, 'GET', '?on_change=prefix&via=offload');
    expect(status).toBe(307);
    expect((await call(String(headers.location), 'GET', '')).bytes.toString()).toBe(text);
  });

  test('has a HEAD of what was there', async () => {
    const { headers } = await get({ 'If-Match': tag }, 'HEAD');
    expect(headers).toMatchObject({ 'content-length': '26', etag: tag, 'relay-current-size': '36' });
    expect((await get({}, 'HEAD')).headers).toMatchObject({ 'content-length': '36', 'relay-on-change': 'prefix' });
    expect((await get({ 'If-Match': tag }, 'HEAD', '')).status).toBe(412);
  });

  test('has a digest of what was there', async () => {
    const answer = (await ask(url, '/datasets/request-digest', PREFIX, { 'If-Match': tag }).answer).json();
    expect(answer).toEqual({ size: 26, etag: tag, digest: digestOf(text), on_change: 'prefix', current_size: 36 });
  });

  test('is 412 once it was cut, in every way of asking', async () => {
    await truncate(file, 25);
    for (const headers of [{ Range: 'bytes=20-' }, { Range: 'bytes=-3' }, {}]) {
      for (const method of ['GET', 'HEAD']) {
        const answer = await get({ ...headers, 'If-Match': tag }, method);
        expect([method, headers, answer.status]).toEqual([method, headers, 412]);
      }
    }
    expect((await get({ Range: 'bytes=20-', 'If-Range': tag })).bytes).toHaveLength(25);
    for (const kind of ['sync', 'stream', 'offload', 'digest']) {
      const answer = await ask(url, `/datasets/request-${kind}`, PREFIX, { 'If-Match': tag }).answer;
      expect([kind, answer.status]).toEqual([kind, 412]);
    }
  });

  test('never matches the whole, nor the whole it', async () => {
    const whole = (await get({}, 'GET', '')).headers.etag as string;
    expect((await get({ 'If-Match': whole })).status).toBe(412);
    expect((await get({ 'If-Match': tag }, 'GET', '')).status).toBe(412);
    for (const kind of ['sync', 'stream', 'offload', 'digest']) {
      const { answer } = ask(url, `/datasets/request-${kind}`, { mac: MAC, dataset: 'log' }, { 'If-Match': tag });
      expect([kind, (await answer).status]).toEqual([kind, 412]);
    }
  });

  test('what is neither fail nor prefix is refused', async () => {
    expect((await get({}, 'GET', '?on_change=fail')).headers).not.toHaveProperty('relay-on-change');
    expect((await get({}, 'GET', '?on_change=maybe')).json()).toMatchObject({ status: 400, code: 'invalid_request' });
    const body = { ...PREFIX, on_change: 'maybe' };
    expect((await ask(url, '/datasets/request-stream', body).answer).status).toBe(400);
  });
});

describe('a connector that did not say prefix', () => {
  test('is not asked, and the app is told that it cannot', async () => {
    await using node = await PlainConnector.connect(url, { capabilities: 'stat, range, digest, offset, binary' });
    for (const kind of ['sync', 'stream', 'offload', 'digest']) {
      const answer = await ask(url, `/datasets/request-${kind}`, PREFIX).answer;
      expect([kind, answer.status, answer.json()['code']]).toEqual([kind, 501, 'not_supported']);
    }
    for (const headers of [{}, { Range: 'bytes=-3' }]) {
      expect((await get(headers)).json()).toMatchObject({ status: 501, code: 'not_supported' });
      expect((await get(headers, 'HEAD')).status).toBe(501);
    }
    // Without it everything is as before.
    const { answer } = ask(url, '/datasets/request-sync', { mac: MAC, dataset: 'log' });
    const command = await node.next();
    expect(command).not.toHaveProperty('on_change');
    await node.post('/datasets/result', { request_id: command.request_id, data: 'abc' });
    expect((await answer).json()).toMatchObject({ data: 'abc' });
  });
});
