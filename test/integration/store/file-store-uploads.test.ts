import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { appendFile, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { type FileStoreServer, startFileStore } from './file-store-server.ts';
import { beginPut, put, send, whenClosed } from './http-client.ts';

const ONE = 'datasets/cc-28-aa-01-02-03/one';
const TWO = 'datasets/cc-28-aa-01-02-03/two';
const MIB = 1024 * 1024;

describe('file store: uploads', () => {
  let server: FileStoreServer;

  beforeEach(async () => {
    server = await startFileStore();
  });
  afterEach(async () => {
    await server[Symbol.asyncDispose]();
  });

  it('keeps nothing of a PUT that breaks off', async () => {
    const arriving = once(server.events, 'bytes');
    const call = await beginPut(await server.signPut(ONE), 2 * MIB, randomBytes(MIB));
    await arriving;
    const handled = once(server.events, 'handled');
    call.destroy();
    await handled;
    expect(await server.listUnfinished()).toEqual([]);
    expect(await server.listKeys()).toEqual([]);
    expect(server.store.usedBytes).toBe(0);
  });

  it('cuts the older of two PUTs of one part, and counts the newer', async () => {
    const id = await server.store.createUpload(ONE, 4 * MIB);
    const target = await server.store.signPart(ONE, id, 1, server.signing());
    const arriving = once(server.events, 'bytes');
    const older = await beginPut(target, 4 * MIB, randomBytes(MIB));
    await arriving;
    const cut = whenClosed(older);
    const body = randomBytes(3 * MIB);
    const newer = await put(target, body);
    await cut;
    expect(newer.status).toBe(200);
    await server.store.completeUpload(ONE, id, [{ part_number: 1, etag: String(newer.headers.etag) }]);
    expect((await send('GET', await server.signGet(ONE))).body.equals(body)).toBe(true);
  });

  it('forgets a part from the moment another PUT of it begins', async () => {
    const id = await server.store.createUpload(ONE, 4 * MIB);
    const target = await server.store.signPart(ONE, id, 1, server.signing());
    const whole = await put(target, randomBytes(1000));
    const arriving = once(server.events, 'bytes');
    const broken = await beginPut(target, 1000, randomBytes(10));
    await arriving;
    const handled = once(server.events, 'handled');
    broken.destroy();
    await handled;
    await expect(
      server.store.completeUpload(ONE, id, [{ part_number: 1, etag: String(whole.headers.etag) }]),
    ).rejects.toMatchObject({ code: 'invalid_request' });
  });

  it('refuses a part that is longer than its place', async () => {
    const id = await server.store.createUpload(ONE, 1000);
    const target = await server.store.signPart(ONE, id, 1, server.signing());
    expect((await put(target, randomBytes(1001))).status).toBe(400);
    const chunked = await send('PUT', target.url, { 'transfer-encoding': 'chunked' }, randomBytes(1001));
    expect(chunked.status).toBe(400);
    expect(server.store.usedBytes).toBe(0);
  });

  it('takes a part in pieces, each of which may be sent again, and counts it once it is whole', async () => {
    const body = randomBytes(2500);
    const id = await server.store.createUpload(ONE, 1500);
    const [first, second] = await Promise.all(
      [1, 2].map((number) => server.store.signPart(ONE, id, number, server.signing())),
    );
    const piece = (target = first, start = 0, end = 0, size = 1500, base = 0) =>
      send(
        'PUT',
        String(target?.url),
        { 'content-range': `bytes ${start}-${end - 1}/${size}` },
        body.subarray(base + start, base + end),
      );
    expect(await piece(first, 700, 1500)).toMatchObject({ status: 409 });
    const begun = await piece(first, 0, 700);
    expect([begun.status, begun.headers.etag]).toEqual([202, undefined]);
    const refusal = await piece(first, 800, 1500);
    expect(JSON.parse(refusal.body.toString())).toMatchObject({ code: 'offset_mismatch', next_offset: 700 });
    await expect(server.store.completeUpload(ONE, id, [{ part_number: 1, etag: '"any"' }])).rejects.toMatchObject({
      code: 'invalid_request',
    });
    expect((await piece(first, 0, 700)).status).toBe(202);
    expect((await piece(first, 700, 1500)).status).toBe(200);
    const whole = await piece(first, 700, 1500);
    const last = await put(second as never, body.subarray(1500));
    expect([whole.status, last.status]).toEqual([200, 200]);
    const parts = [whole, last].map(({ headers }, index) => ({ part_number: index + 1, etag: String(headers.etag) }));
    await server.store.completeUpload(ONE, id, parts);
    expect((await send('GET', await server.signGet(ONE))).body.equals(body)).toBe(true);
    expect(server.store.usedBytes).toBe(2500);
    await server.store.remove(ONE);
    expect(server.store.usedBytes).toBe(0);
  });

  it('takes no piece that is not as long as it says, and keeps what was there before', async () => {
    const id = await server.store.createUpload(ONE, 1000);
    const { url } = await server.store.signPart(ONE, id, 1, server.signing());
    const ranged = (range: string, bytes: number, more: Record<string, string> = {}) =>
      send('PUT', url, { 'content-range': range, ...more }, randomBytes(bytes));
    expect((await ranged('bytes 0-499/1000', 500)).status).toBe(202);
    expect((await ranged('bytes 500-999/1000', 400)).status).toBe(400);
    // A body of unknown length that something on the way ended early.
    expect((await ranged('bytes 500-999/1000', 400, { 'transfer-encoding': 'chunked' })).status).toBe(400);
    expect((await ranged('bytes 500-1000/1001', 501)).status).toBe(400);
    for (const range of ['bytes 5-4/10', 'bytes 0-9/*', 'bytes 0-10/10', 'pages 1-2/3']) {
      expect((await ranged(range, 10)).status).toBe(400);
    }
    expect(server.store.usedBytes).toBe(500);
    expect((await ranged('bytes 500-999/1000', 500)).status).toBe(200);
    expect(server.store.usedBytes).toBe(1000);
    await server.store.abortUpload(ONE, id);
    expect(server.store.usedBytes).toBe(0);
  });

  it('does not take a part of an object for the whole', async () => {
    const { url } = await server.signPut(ONE);
    expect((await send('PUT', url, { 'content-range': 'bytes 0-3/10' }, Buffer.from('abcd'))).status).toBe(400);
    expect(await server.listKeys()).toEqual([]);
  });

  it('cuts a PUT of an object that is removed', async () => {
    const arriving = once(server.events, 'bytes');
    const call = await beginPut(await server.signPut(ONE), 1000, randomBytes(10));
    await arriving;
    const handled = once(server.events, 'handled');
    const cut = whenClosed(call);
    await server.store.remove(ONE);
    await Promise.all([handled, cut]);
    expect(await server.listUnfinished()).toEqual([]);
  });

  it('says how many bytes of which object have arrived', async () => {
    const counts = new Map<string, number>();
    server.events.on('bytes', (key: string, count: number) => counts.set(key, (counts.get(key) ?? 0) + count));
    await server.putObject(ONE, 3 * MIB + 1);
    const id = await server.store.createUpload(TWO, MIB);
    await put(await server.store.signPart(TWO, id, 2, server.signing()), randomBytes(1000));
    expect([...counts]).toEqual([
      [ONE, 3 * MIB + 1],
      [TWO, 1000],
    ]);
  });

  it('ends what is under way when it closes', async () => {
    const id = await server.store.createUpload(TWO, MIB);
    const calls = [];
    for (const target of [await server.signPut(ONE), await server.store.signPart(TWO, id, 1, server.signing())]) {
      const arriving = once(server.events, 'bytes');
      calls.push(await beginPut(target, 1000, randomBytes(10)));
      await arriving;
    }
    const cuts = Promise.all(calls.map(whenClosed));
    await server.store.close();
    await cuts;
    // What came in parts is there for the next process.
    expect(await server.listUnfinished()).toEqual([id, `${id}.parts`]);
    expect(await server.countOpenFiles()).toBe(0);
  });
});

describe('file store: uploads of a former process', () => {
  const first = randomBytes(MIB);
  const rest = randomBytes(1000);

  /** Leaves an upload with its parts 1 and 3 whole, and pieces of others. */
  async function leave(): Promise<{ server: FileStoreServer; id: string; etags: string[] }> {
    const server = await startFileStore();
    const id = await server.store.createUpload(ONE, MIB);
    const sendPart = async (part: number, body: Buffer): Promise<string> =>
      String((await put(await server.store.signPart(ONE, id, part, server.signing()), body)).headers.etag);
    const etags = [await sendPart(1, first), await sendPart(3, rest)];
    for (const target of [await server.signPut(TWO), await server.store.signPart(ONE, id, 2, server.signing())]) {
      const arriving = once(server.events, 'bytes');
      await beginPut(target, MIB, randomBytes(10));
      await arriving;
    }
    return { server, id, etags };
  }

  it('are gone on with from the parts that are whole', async () => {
    const { server: before, id, etags } = await leave();
    await using _before = before;
    await before.store.close();
    await using after = await startFileStore({ directory: before.directory });
    expect((await readdir(join(before.directory, 'uploads'))).toSorted()).toEqual([id, `${id}.parts`]);
    expect(after.store.usedBytes).toBe(MIB + 1000);
    expect(await after.store.listParts(ONE, id)).toEqual([
      { part_number: 1, etag: etags[0], size: MIB },
      { part_number: 3, etag: etags[1], size: 1000 },
    ]);
    const middle = await put(await after.store.signPart(ONE, id, 2, after.signing()), first);
    const all = [etags[0], middle.headers.etag, etags[1]].map((etag, n) => ({
      part_number: n + 1,
      etag: String(etag),
    }));
    await after.store.completeUpload(ONE, id, all);
    const got = await send('GET', await after.signGet(ONE));
    expect(got.body.equals(Buffer.concat([first, first, rest]))).toBe(true);
    expect(await after.listUnfinished()).toEqual([]);
    expect(after.store.usedBytes).toBe(2 * MIB + 1000);
  });

  it('know nothing of a part that was being written over, nor of what a kill cut off', async () => {
    const { server: before, id } = await leave();
    await using _before = before;
    const arriving = once(before.events, 'bytes');
    await beginPut(await before.store.signPart(ONE, id, 1, before.signing()), MIB, randomBytes(10));
    await arriving;
    await before.store.close();
    await appendFile(join(before.directory, 'uploads', `${id}.parts`), '{"part":2,"size":1048576,"etag":"\\"x\\"');
    for (let restart = 0; restart < 2; restart += 1) {
      await using after = await startFileStore({ directory: before.directory });
      expect(await after.store.listParts(ONE, id)).toMatchObject([{ part_number: 3 }]);
    }
  });

  it.each([
    ['the bytes', (id: string) => id],
    ['the journal', (id: string) => `${id}.parts`],
  ])('are forgotten without %s', async (_, name) => {
    const { server: before, id } = await leave();
    await using _before = before;
    await before.store.close();
    await rm(join(before.directory, 'uploads', name(id)));
    await using after = await startFileStore({ directory: before.directory });
    expect(await after.store.listParts(ONE, id)).toBeUndefined();
    expect([await after.listUnfinished(), after.store.usedBytes]).toEqual([[], 0]);
  });

  it('make room for what comes, unless they are under way', async () => {
    const { server: before, id } = await leave();
    await using _before = before;
    await before.store.close();
    const busy = new Set([ONE]);
    const limits = { directory: before.directory, maxBytes: 2 * MIB, isUploading: (key: string) => busy.has(key) };
    await using after = await startFileStore(limits);
    expect((await after.putObject(TWO, 2 * MIB)).status).toBe(507);
    busy.clear();
    const evicted = once(after.events, 'evict');
    expect((await after.putObject(TWO, 2 * MIB)).status).toBe(200);
    expect(await evicted).toEqual([ONE]);
    expect(await after.store.listParts(ONE, id)).toBeUndefined();
    expect(await after.listUnfinished()).toEqual([]);
  });
});
