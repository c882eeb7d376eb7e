import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { download } from '../../../src/files.ts';
import { type OpenedDataset, RelayClient } from '../../../src/index.ts';
import { startOwnConnector } from '../../support/own-connector.ts';
import { MAC, PlainConnector } from '../../support/plain-connector.ts';
import { makeTempDir, startRouter } from '../../support/router.ts';
import { digestOf, failureOf, makeBytes, readAll } from '../../unit/client/stub-server.ts';

const BYTES = makeBytes(300_000);
const OTHER_MAC = 'cc-28-aa-01-02-04';
const resources = new AsyncDisposableStack();
let client: RelayClient;
let node: PlainConnector;

beforeAll(async () => {
  const { url } = resources.use(await startRouter());
  client = new RelayClient({ baseUrl: url });
  resources.use(await startOwnConnector(url, BYTES));
  const capabilities = 'binary, offset, range, digest';
  node = resources.use(await PlainConnector.connect(url, { mac: OTHER_MAC, capabilities }));
});
afterAll(() => resources.disposeAsync());

async function collect(opened: OpenedDataset): Promise<Buffer> {
  const pieces: Uint8Array[] = [];
  for await (const piece of opened) pieces.push(piece);
  return Buffer.concat(pieces);
}

describe('a dataset that is opened', () => {
  test('is the whole, by iterating or as a stream', async () => {
    const opened = await client.open(MAC, 'a.csv');
    expect([opened.size, opened.offset]).toEqual([BYTES.length, 0]);
    expect((await collect(opened)).equals(BYTES)).toBe(true);
    expect((await readAll((await client.open(MAC, 'a.csv', { requireDigest: true })).body)).equals(BYTES)).toBe(true);
  });

  test.each([
    [{ offset: 100_000 }, 100_000, BYTES.length],
    [{ offset: 5, length: 7 }, 5, 12],
    [{ length: 3 }, 0, 3],
    [{ offset: BYTES.length - 2, length: 50 }, BYTES.length - 2, BYTES.length],
  ])('is the part that is asked for: %j', async (options, start, end) => {
    const { etag } = await client.stat(MAC, 'a.csv');
    const opened = await client.open(MAC, 'a.csv', { ...options, etag });
    expect([opened.offset, opened.size]).toEqual([start, BYTES.length]);
    expect((await collect(opened)).equals(BYTES.subarray(start, end))).toBe(true);
  });

  test.each([
    [{ offset: BYTES.length }, 'range_not_satisfiable'],
    [{ offset: -1 }, 'usage'],
    [{ length: 0 }, 'usage'],
    [{ etag: '"other"' }, 'precondition_failed'],
    [{ offset: 1, etag: '"other"' }, 'precondition_failed'],
  ])('is refused for %j: %s', async (options, code) => {
    expect(await failureOf(client.open(MAC, 'a.csv', options))).toMatchObject({ code });
  });

  test('goes on within the part where it breaks off', async () => {
    const interruptions: number[] = [];
    const opening = client.open(OTHER_MAC, 'a.csv', {
      offset: 10,
      length: 20,
      onInterruption: (_, offset) => interruptions.push(offset),
    });
    const first = await node.next();
    expect(first).toMatchObject({ command: 'get_dataset_stream', offset: 10, length: 20 });
    const facts = { total_size: 100, etag: '"v1"' };
    await node.post('/datasets/stream/init', { request_id: first.request_id, ...facts });
    await node.postBytes('/datasets/stream/chunk', first.request_id, BYTES.subarray(10, 15), { 'Relay-Offset': '10' });
    const opened = await opening;
    const reading = collect(opened);
    const error = { code: 'connector_failed', message: 'it broke off' };
    await node.post('/datasets/result', { request_id: first.request_id, error });
    let second = await node.next();
    while (second.command !== 'get_dataset_stream') second = await node.next();
    const at = second['offset'] as number;
    expect(second).toMatchObject({ length: 30 - at, if_match: '"v1"' });
    expect(interruptions).toEqual([at]);
    const { request_id } = second;
    await node.post('/datasets/stream/init', { request_id, ...facts });
    await node.postBytes('/datasets/stream/chunk', request_id, BYTES.subarray(at, 30), { 'Relay-Offset': String(at) });
    await node.post('/datasets/stream/complete', { request_id, total_size: 100 });
    expect((await reading).equals(BYTES.subarray(10, 30))).toBe(true);
  });

  test('ends with an error where it is not what its node read', async () => {
    const digest = digestOf('something else');
    const answering = (async () => {
      const { request_id } = await node.next();
      await node.postBytes('/datasets/stream/chunk', request_id, 'abc', {
        'Relay-Total-Size': '3',
        'Repr-Digest': digest,
      });
      await node.post('/datasets/stream/complete', { request_id, total_size: 3 });
    })();
    const failure = await failureOf(client.open(OTHER_MAC, 'a.csv').then(collect));
    await answering;
    expect(failure).toMatchObject({ code: 'content_mismatch' });
  });

  test('cannot be compared as a part, which is an error where that is required', async () => {
    const opened = await client.open(MAC, 'a.csv', { offset: 1, requireDigest: true });
    expect(await failureOf(collect(opened))).toMatchObject({ code: 'unverified' });
  });

  test('lets go of the request when the reader breaks off, or the signal fires', async () => {
    const opened = await client.open(MAC, 'a.csv');
    for await (const piece of opened) {
      expect(piece.length).toBeGreaterThan(0);
      break;
    }
    const abort = new AbortController();
    const other = await client.open(MAC, 'a.csv', { signal: abort.signal });
    abort.abort(new Error('enough'));
    expect(await failureOf(collect(other))).toMatchObject({ message: 'enough' });
  });
});

test('a dataset is downloaded into a file, whole and verified', async () => {
  await using place = await makeTempDir();
  const path = join(place.path, 'copy.csv');
  expect(await download(client, MAC, 'a.csv', path)).toEqual({
    size: BYTES.length,
    digest: digestOf(BYTES),
    verified: true,
  });
  expect((await readFile(path)).equals(BYTES)).toBe(true);
});

test('the URL of an offload is good for whoever has it', async () => {
  const url = await client.offloadUrl(MAC, 'a.csv');
  expect(Buffer.from(await (await fetch(url)).arrayBuffer()).equals(BYTES)).toBe(true);
});
