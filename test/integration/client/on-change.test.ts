import { createHash, randomBytes } from 'node:crypto';
import { appendFile, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { download, downloadAll } from '../../../src/files.ts';
import { type Content, openByWays, RelayClient, Ways } from '../../../src/index.ts';
import { MAC, PlainConnector } from '../../support/plain-connector.ts';
import { makeTempDir, startRouter } from '../../support/router.ts';
import { SlowLine } from '../../support/slow-line.ts';
import { RunningConnector } from '../../unit/connector/support-connector.ts';
import { Sandbox } from '../../unit/connector/support-dir.ts';
import { readAll } from '../../unit/client/stub-server.ts';

const CONTENT = randomBytes(3_000_000);
const MORE = randomBytes(50_000);
const PREFIX = { onChange: 'prefix' } as const;
const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

let resources: AsyncDisposableStack;
let url: string;
let client: RelayClient;
let file: string;
let out: string;
let line: SlowLine;

beforeEach(async () => {
  resources = new AsyncDisposableStack();
  url = resources.use(await startRouter()).url;
  const sandbox = resources.use(await Sandbox.create({ log: CONTENT }));
  line = resources.use(await SlowLine.to(url));
  client = new RelayClient({ baseUrl: url });
  file = join(sandbox.data, 'log');
  out = resources.use(await makeTempDir()).path;
  const options = { routerUrl: new URL(line.url), dataDir: sandbox.data, transport: 'websocket' } as const;
  resources.use(await RunningConnector.online(options));
});
afterEach(() => resources.disposeAsync());

const grow = (): Promise<void> => appendFile(file, MORE);

/** Has the dataset grow in the middle of the transfer. */
async function whileItGrows<T>(work: () => Promise<T>): Promise<T> {
  line.hold();
  const done = work();
  done.catch(() => {});
  await line.stalled;
  await grow();
  line.release();
  return done;
}

async function expectBeginning(content: Content, start = 0): Promise<void> {
  expect(sha256(await readAll(content.body))).toBe(sha256(CONTENT.subarray(start)));
  expect(await content.currentSize?.()).toBe(CONTENT.length + MORE.length);
}

describe('a dataset that grows while the library fetches it, with onChange prefix', () => {
  test('is opened as it was, and is verified', async () => {
    const options = { ...PREFIX, requireDigest: true };
    await whileItGrows(async () => expectBeginning(await client.open(MAC, 'log', options)));
  });

  test('has parts, which are of one beginning where its tag is named', async () => {
    const { etag = '' } = await client.open(MAC, 'log', { ...PREFIX, length: 1 }).then(async (first) => {
      await first.body.cancel();
      return first;
    });
    expect(etag).toMatch(/^"prefix-3000000-/);
    const offset = 1_000_000;
    await whileItGrows(async () => expectBeginning(await client.open(MAC, 'log', { ...PREFIX, offset, etag }), offset));
    const whole = await client.open(MAC, 'log', { ...PREFIX, etag });
    await expectBeginning(whole);
    expect(whole.size).toBe(CONTENT.length);
  });

  test('is downloaded as it was', async () => {
    const target = join(out, 'log');
    const receipt = await whileItGrows(() => download(client, MAC, 'log', target, PREFIX));
    expect(receipt).toMatchObject({ size: CONTENT.length, verified: true });
    expect(sha256(await readFile(target))).toBe(sha256(CONTENT));
  });

  test('is gone on with after it was broken off and has grown', async () => {
    const target = join(out, 'log');
    const stop = new AbortController();
    line.hold(2_000_000);
    const first = download(client, MAC, 'log', target, { ...PREFIX, signal: stop.signal });
    first.catch(() => {});
    await line.stalled;
    stop.abort(new Error('enough'));
    await expect(first).rejects.toThrow('enough');
    line.release();
    await grow();
    let resumed = 0;
    const receipt = await download(client, MAC, 'log', target, {
      ...PREFIX,
      onResume: (there) => void (resumed = there),
    });
    expect(resumed).toBeGreaterThan(0);
    expect(receipt).toMatchObject({ size: CONTENT.length, verified: true });
    expect(sha256(await readFile(target))).toBe(sha256(CONTENT));
  });

  test('is one of many', async () => {
    const summary = await whileItGrows(() => downloadAll(client, MAC, out, { ...PREFIX, retries: 0 }));
    expect(summary).toMatchObject({ fetched: 1, failed: 0 });
    expect(sha256(await readFile(join(out, 'log')))).toBe(sha256(CONTENT));
  });

  test('comes by way of the store', async () => {
    const subject = { mac: MAC, dataset: 'log' };
    // As where a router tells that it has no memory for a large stream.
    const ways = new Ways({ size: 64 * 1024 * 1024, isShort: true });
    const content = await whileItGrows(() => openByWays(client, subject, ways, PREFIX));
    expect(ways.current).toBe('offload');
    await expectBeginning(content);
    // The same beginning again, though there is more by now.
    const known = { etag: content.etag ?? '', size: CONTENT.length, offset: 2_000_000 };
    const rest = await openByWays(client, subject, ways, { ...PREFIX, known });
    expect([rest.offset, rest.etag]).toEqual([known.offset, content.etag]);
    expect(sha256(await readAll(rest.body))).toBe(sha256(CONTENT.subarray(known.offset)));
  });
});

describe('without it', () => {
  test('it fails, as it always did', async () => {
    const options = { retries: 0, onResult: () => {} };
    expect(await whileItGrows(() => downloadAll(client, MAC, out, options))).toMatchObject({ fetched: 0, failed: 1 });
    await writeFile(file, CONTENT);
    await expect(download(client, MAC, 'log', join(out, 'other'))).resolves.toMatchObject({ verified: true });
  });

  test('opening it fails too', async () => {
    const opened = whileItGrows(async () => readAll((await client.open(MAC, 'log')).body));
    await expect(opened).rejects.toMatchObject({ code: 'dataset_changed' });
  });
});

test('a connector that cannot hold to a beginning is told of', async () => {
  const mac = 'cc-28-aa-01-02-04';
  await using _node = await PlainConnector.connect(url, { mac, capabilities: 'stat, range, offset, binary' });
  const calls = [
    () => client.open(mac, 'log', PREFIX),
    () => client.open(mac, 'log', { ...PREFIX, offset: 1 }),
    () => download(client, mac, 'log', join(out, 'log'), PREFIX),
  ];
  for (const each of calls) await expect(each()).rejects.toMatchObject({ code: 'not_supported' });
});
