import { utimesSync } from 'node:fs';
import { readFile, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { downloadAll } from '../../../src/files.ts';
import { RelayClient } from '../../../src/index.ts';
import { type AppAnswer, ask, call } from '../../support/plain-app.ts';
import { MAC, PlainConnector } from '../../support/plain-connector.ts';
import { makeTempDir, startRouter } from '../../support/router.ts';
import { RunningConnector } from '../../unit/connector/support-connector.ts';
import { Sandbox } from '../../unit/connector/support-dir.ts';

const KINDS = ['sync', 'stream', 'offload', 'digest'];
const FIVE_MINUTES = { min_age: 300 };
const PATH = `/connectors/${MAC}/datasets`;

let resources: AsyncDisposableStack;
let url: string;
let sandbox: Sandbox;

beforeEach(async () => {
  resources = new AsyncDisposableStack();
  url = resources.use(await startRouter()).url;
  sandbox = resources.use(await Sandbox.create());
});
afterEach(() => resources.disposeAsync());

/** Writes a dataset that was last changed so many seconds ago. */
async function write(name: string, ageS: number, content = name): Promise<void> {
  const file = await sandbox.write(name, content);
  const time = Date.now() / 1000 - ageS;
  await utimes(file, time, time);
}

async function connect(minAgeMs?: number): Promise<void> {
  const options = { routerUrl: new URL(url), dataDir: sandbox.data, transport: 'websocket', minAgeMs } as const;
  resources.use(await RunningConnector.online(options));
}

const post = (kind: string, dataset: string, more: object = FIVE_MINUTES, headers = {}): Promise<AppAnswer> =>
  ask(url, `/datasets/request-${kind}`, { mac: MAC, dataset, ...more }, headers).answer;
const get = (path: string, headers: Record<string, string> = {}, method = 'GET'): Promise<AppAnswer> =>
  call(url, method, `${PATH}${path}`, headers);
const namesOf = (answer: AppAnswer): unknown =>
  (answer.json() as { datasets: { name: string }[] }).datasets.map(({ name }) => name);

/** Holds that it was refused for its age, with the seconds that are left, give or take those that the test took. */
function expectTooRecent(answer: AppAnswer, seconds: number): void {
  expect([answer.status, answer.json()['code'], answer.json()['retryable']]).toEqual([503, 'dataset_too_recent', true]);
  const left = Number(answer.headers['retry-after']);
  expect(left).toBeGreaterThan(seconds - 60);
  expect(left).toBeLessThanOrEqual(seconds);
}

describe('a dataset that changed too lately for min_age', () => {
  beforeEach(async () => {
    await write('young.csv', 10);
    await write('old.csv', 400);
    await write('future.csv', -3600);
    await connect();
  });

  test.each(KINDS)('is refused by request-%s, while an older one is given, which the answer says', async (kind) => {
    expectTooRecent(await post(kind, 'young.csv'), 290);
    const future = await post(kind, 'future.csv');
    expectTooRecent(future, 3900);
    expect(future.json()['detail']).toMatch(/ahead of this node's clock/);
    const old = await post(kind, 'old.csv');
    expect([old.status, old.headers['relay-min-age']]).toEqual([200, '300']);
    const any = await post(kind, 'young.csv', {});
    expect([any.status, any.headers]).toEqual([
      200,
      expect.not.objectContaining({ 'relay-min-age': expect.anything() }),
    ]);
    expect((await post(kind, 'young.csv', { min_age: 2.5 })).status).toBe(200);
  });

  test.each<[string, Record<string, string>]>([
    ['?min_age=300', {}],
    ['?min_age=300', { Range: 'bytes=1-2' }],
    ['?min_age=300', { Range: 'bytes=-2' }],
    ['?min_age=300', { 'If-None-Match': '"x"' }],
    ['?min_age=300&via=sync', {}],
    ['?min_age=300&via=offload', {}],
    ['?min_age=300&on_change=prefix', {}],
  ])('is refused as a resource with %s and %j', async (query, headers) => {
    expectTooRecent(await get(`/young.csv${query}`, headers), 290);
    const head = await get(`/young.csv${query}`, headers, 'HEAD');
    expect([head.status, JSON.parse(String(head.headers['relay-problem']))]).toEqual([
      503,
      expect.objectContaining({ code: 'dataset_too_recent' }),
    ]);
    const old = await get(`/old.csv${query}`, headers);
    expect(old.status).toBeLessThan(400);
    expect(old.headers['relay-min-age']).toBe('300');
    expect((await get(`/old.csv${query}`, headers, 'HEAD')).headers['relay-min-age']).toBe('300');
  });

  test('is refused though the store has it already, with the same entity tag', async () => {
    const stored = (await post('offload', 'young.csv', {})).json();
    expect(stored).toMatchObject({ status: 'success' });
    expectTooRecent(await post('offload', 'young.csv'), 290);
    expectTooRecent(await post('offload', 'young.csv', FIVE_MINUTES, { 'If-Match': String(stored['etag']) }), 290);
  });

  test('fails where it is asked for in the background', async () => {
    const begun = await post('offload', 'young.csv', FIVE_MINUTES, { Prefer: 'respond-async' });
    expect([begun.status, begun.headers['relay-min-age']]).toEqual([202, '300']);
    const status = (await call(url, 'GET', `/requests/${begun.headers['relay-request-id']}?wait=5`)).json();
    expect(status).toMatchObject({
      state: 'failed',
      error: { code: 'dataset_too_recent', retry_after: expect.any(Number) },
    });
  });

  test('is left out of listings, and so is a directory that has no other', async () => {
    await write('mixed/young.csv', 10);
    await write('mixed/old.csv', 400);
    await write('fresh/young.csv', 10);
    const list = await get('?min_age=300');
    expect([namesOf(list), list.headers['relay-min-age']]).toEqual([['mixed/old.csv', 'old.csv'], '300']);
    expect((await get('?min_age=300&delimiter=/')).json()).toMatchObject({ prefixes: ['mixed/'] });
    const page = (await get('/?min_age=300', { Accept: 'text/html' })).bytes.toString();
    expect(page).toMatch(/old\.csv/);
    expect(page).not.toMatch(/young|future|fresh/);
    expect((await get('/fresh/?min_age=300', { Accept: 'text/html' })).status).toBe(404);
    expect(namesOf(await get('?prefix=fresh/'))).toEqual(['fresh/young.csv']);
  });

  test('a min_age that is no number of seconds is refused', async () => {
    for (const text of ['-1', 'abc', '5m', '', '1e3', '99999999999']) {
      for (const path of ['/old.csv', '', '/']) {
        expect([text, path, (await get(`${path}?min_age=${text}`)).status]).toEqual([text, path, 400]);
      }
    }
    for (const min_age of [-1, '300', null]) expect((await post('sync', 'old.csv', { min_age })).status).toBe(400);
  });

  test('the library has it in every call', async () => {
    const client = new RelayClient({ baseUrl: url });
    const wish = { minAgeMs: 300_000 };
    const calls: ((name: string) => Promise<unknown>)[] = [
      (name) => client.stat(MAC, name, wish),
      (name) => client.requestSync(MAC, name, wish),
      (name) => client.requestDigest(MAC, name, wish),
      (name) => client.requestOffload(MAC, name, wish),
      async (name) => (await client.requestSyncBytes(MAC, name, wish)).body.cancel(),
      async (name) => (await client.requestStream(MAC, name, wish)).body.cancel(),
      async (name) => (await client.open(MAC, name, wish)).body.cancel(),
      async (name) => (await client.open(MAC, name, { ...wish, offset: 1, length: 2 })).body.cancel(),
    ];
    for (const each of calls) {
      await each('old.csv');
      await expect(each('young.csv')).rejects.toMatchObject({
        code: 'dataset_too_recent',
        details: { retry_after: expect.any(Number) },
      });
    }
    const names: string[] = [];
    for await (const { name } of client.datasets(MAC, wish)) names.push(name);
    expect(names).toEqual(['old.csv']);
  });

  test('what is there of it from another run is not gone on with', async () => {
    const client = new RelayClient({ baseUrl: url });
    const { etag = '', size = 0 } = await client.stat(MAC, 'young.csv');
    const known = { etag, size, offset: 3 };
    await expect(client.requestStream(MAC, 'young.csv', { known, minAgeMs: 300_000 })).rejects.toMatchObject({
      code: 'dataset_too_recent',
    });
  });
});

describe('many datasets', () => {
  test('come without those that are too recent, which is no failure', async () => {
    await write('young.csv', 10);
    await write('old.csv', 400);
    await connect();
    const target = resources.use(await makeTempDir()).path;
    const client = new RelayClient({ baseUrl: url });
    const summary = await downloadAll(client, MAC, target, { minAgeMs: 300_000 });
    expect(summary).toMatchObject({ fetched: 1, skipped: 0, failed: 0 });
  });

  test.each([{ checksum: false }, { checksum: true }])(
    'leave out one that changes after it was listed, and wait for none, with %j',
    async ({ checksum }) => {
      await write('a.csv', 400, 'as it was');
      await connect();
      const target = resources.use(await makeTempDir()).path;
      const client = new RelayClient({ baseUrl: url });
      await downloadAll(client, MAC, target);
      await write('a.csv', 350, 'as it is.');
      const results: [string, string | undefined][] = [];
      const summary = await downloadAll(client, MAC, target, {
        checksum,
        minAgeMs: 300_000,
        waitMs: 600_000,
        onListed: () => utimesSync(join(sandbox.data, 'a.csv'), Date.now() / 1000, Date.now() / 1000),
        onResult: ({ outcome, error }) => void results.push([outcome, error?.code]),
      });
      expect(results).toEqual([['skipped', 'dataset_too_recent']]);
      expect(summary).toMatchObject({ skipped: 1, fetched: 0, failed: 0 });
      expect(await readFile(join(target, 'a.csv'), 'utf8')).toBe('as it was');
    },
  );
});

describe('a connector with a least age of its own', () => {
  beforeEach(async () => {
    await write('young.csv', 10);
    await write('middle.csv', 200);
    await write('old.csv', 400);
    await connect(100_000);
  });

  test('offers nothing younger, whatever is asked', async () => {
    for (const kind of KINDS) {
      expectTooRecent(await post(kind, 'young.csv', {}), 90);
      expectTooRecent(await post(kind, 'young.csv', { min_age: 1 }), 90);
      expect([kind, (await post(kind, 'middle.csv', {})).status]).toEqual([kind, 200]);
    }
    for (const headers of [{}, { Range: 'bytes=0-1' }]) expectTooRecent(await get('/young.csv', headers), 90);
    expect((await get('/young.csv', {}, 'HEAD')).status).toBe(503);
    expect(namesOf(await get(''))).toEqual(['middle.csv', 'old.csv']);
  });

  test('holds to the longer one where more is asked for', async () => {
    expectTooRecent(await post('sync', 'middle.csv'), 100);
    expect((await post('sync', 'old.csv')).status).toBe(200);
    expect(namesOf(await get('?min_age=300'))).toEqual(['old.csv']);
  });
});

describe('a connector that did not say min_age', () => {
  const capabilities = 'stat, list, range, digest, offset, binary, prefix';

  test('is not asked, and the app is told that it cannot', async () => {
    await using node = await PlainConnector.connect(url, { capabilities });
    for (const kind of KINDS) {
      const answer = await post(kind, 'a.csv');
      expect([kind, answer.status, answer.json()['code']]).toEqual([kind, 501, 'not_supported']);
    }
    for (const path of ['/a.csv', '', '/']) {
      for (const headers of [{}, { Range: 'bytes=-3' }]) {
        const answer = await get(`${path}?min_age=300`, headers);
        expect([path, answer.status, answer.json()['code']]).toEqual([path, 501, 'not_supported']);
      }
    }
    expect((await get('/a.csv?min_age=300', {}, 'HEAD')).status).toBe(501);
    // Without it everything is as before.
    const { answer } = ask(url, '/datasets/request-sync', { mac: MAC, dataset: 'a.csv', min_age: 0 });
    const command = await node.next();
    expect(command).not.toHaveProperty('min_age');
    await node.post('/datasets/result', { request_id: command.request_id, data: 'abc' });
    expect((await answer).json()).toMatchObject({ data: 'abc' });
  });

  test('is not asked either where it cannot stat', async () => {
    await using _node = await PlainConnector.connect(url);
    for (const kind of ['sync', 'stream', 'offload']) expect((await post(kind, 'a.csv')).status).toBe(501);
    expect((await get('/a.csv?min_age=300', {}, 'HEAD')).status).toBe(501);
  });
});

test('a HEAD of which nobody can tell the age is refused', async () => {
  await using _node = await PlainConnector.connect(url, { capabilities: 'min-age' });
  expect((await get('/a.csv?min_age=300', {}, 'HEAD')).status).toBe(501);
  expect((await get('/a.csv', {}, 'HEAD')).status).toBe(200);
});

test('a connector of any make may report the code, with when to ask again', async () => {
  await using node = await PlainConnector.connect(url, { capabilities: 'min-age' });
  const { answer } = ask(url, '/datasets/request-sync', { mac: MAC, dataset: 'a.csv', ...FIVE_MINUTES });
  const command = await node.next();
  expect(command).toMatchObject({ command: 'get_dataset', min_age: 300 });
  const error = { code: 'dataset_too_recent', message: 'it is being written', retry_after: 42 };
  await node.post('/datasets/result', { request_id: command.request_id, error });
  expectTooRecent(await answer, 42);
});
