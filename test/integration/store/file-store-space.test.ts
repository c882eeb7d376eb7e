import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { type IncomingMessage, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { FileStoreOptions } from '../../../src/store/file-store.ts';
import { type FileStoreServer, startFileStore } from './file-store-server.ts';
import { beginPut, put, send, whenClosed } from './http-client.ts';

const KEYS = ['one', 'two', 'three', 'four'].map((name) => `datasets/cc-28-aa-01-02-03/${name}`);
const [ONE, TWO, THREE, FOUR] = KEYS as [string, string, string, string];
const MIB = 1024 * 1024;

describe('file store: directory and space', () => {
  let server: FileStoreServer;
  const live = new Set<string>();

  const restart = async (options: Partial<FileStoreOptions> = {}) => {
    await server?.[Symbol.asyncDispose]();
    server = await startFileStore({ isLive: (key) => live.has(key), ...options });
  };

  beforeEach(async () => {
    live.clear();
    await restart();
  });
  afterEach(async () => {
    await server[Symbol.asyncDispose]();
  });

  it('is for the router alone', async () => {
    await server.putObject(ONE, 10);
    for (const name of ['.', 'objects', 'uploads']) {
      expect((await stat(join(server.directory, name))).mode & 0o777).toBe(0o700);
    }
    const [file] = await readdir(join(server.directory, 'objects'));
    expect((await stat(join(server.directory, 'objects', String(file)))).mode & 0o777).toBe(0o600);
  });

  it('keeps objects over a restart, with their entity tags, and drops what is unfinished', async () => {
    const root = await mkdtemp(join(tmpdir(), 'relay-store-'));
    const directory = join(root, 'store');
    const signingKey = randomBytes(32);
    await restart({ directory, signingKey });
    const { etag } = (await server.putObject(ONE, 1000)).headers;
    const url = new URL(await server.signGet(ONE));
    await restart({ directory, signingKey, maxBytes: 1500 });
    await writeFile(join(directory, 'uploads', 'left-by-a-crash'), 'x');
    await writeFile(join(directory, 'objects', '..strange'), 'x');
    await restart({ directory, signingKey, maxBytes: 1500 });
    expect(await server.listUnfinished()).toEqual([]);
    expect(await server.listKeys()).toEqual([ONE]);
    expect(server.store.usedBytes).toBe(1000);
    url.port = new URL(server.baseUrl).port;
    const got = await send('GET', url.href);
    expect([got.status, got.headers.etag]).toEqual([200, etag]);
    live.add(ONE);
    expect((await server.putObject(TWO, 501)).status).toBe(507);
    await rm(root, { recursive: true });
  });

  it('takes an object that somebody removed from it for gone', async () => {
    await server.putObject(ONE, 1000);
    await rm(join(server.directory, 'objects'), { recursive: true });
    expect((await send('GET', await server.signGet(ONE))).status).toBe(404);
    expect(await server.store.stat(ONE)).toBeUndefined();
    expect(server.store.usedBytes).toBe(0);
    const answer = await server.putObject(TWO, 1000);
    expect(answer.status).toBe(503);
    expect(JSON.parse(answer.body.toString())).toMatchObject({ code: 'store_unavailable', retryable: true });
    expect(answer.body.toString()).not.toContain(server.directory);
    expect(server.store.usedBytes).toBe(0);
  });

  it('refuses a body above the limit before taking any of it', async () => {
    await restart({ maxBytes: 1000 });
    const { url } = await server.signPut(ONE);
    const call = request(url, { method: 'PUT', headers: { 'content-length': '1001' }, agent: false });
    call.on('error', () => undefined).flushHeaders();
    const [response] = (await once(call, 'response')) as [IncomingMessage];
    expect(response.statusCode).toBe(507);
    expect(response.headers['content-type']).toBe('application/problem+json');
    const [body] = (await once(response, 'data')) as [Buffer];
    expect(JSON.parse(body.toString())).toMatchObject({ code: 'store_full', status: 507, retryable: false });
    call.destroy();
    await whenClosed(call);
    expect((await server.putObject(TWO, 1000)).status).toBe(200);
  });

  it('refuses a body of unknown length once it is above the limit, and keeps nothing of it', async () => {
    await restart({ maxBytes: 3 * MIB });
    const { url } = await server.signPut(ONE);
    const call = request(url, { method: 'PUT', agent: false });
    call.on('error', () => undefined).end(randomBytes(4 * MIB));
    const [response] = (await once(call, 'response')) as [IncomingMessage];
    expect(response.statusCode).toBe(507);
    call.destroy();
    expect(server.store.usedBytes).toBe(0);
    expect(await server.listUnfinished()).toEqual([]);
    const small = await send('PUT', url, { 'transfer-encoding': 'chunked' }, randomBytes(1000));
    expect([small.status, server.store.usedBytes]).toEqual([200, 1000]);
  });

  it('evicts the oldest objects without a live URL, and no more than it must', async () => {
    await restart({ maxBytes: 1000 });
    const evicted: unknown[] = [];
    server.events.on('evict', (key) => evicted.push(key));
    for (const key of [ONE, TWO, THREE]) await server.putObject(key, 300);
    live.add(ONE);
    expect((await server.putObject(FOUR, 400)).status).toBe(200);
    expect(evicted).toEqual([TWO]);
    expect(await server.listKeys()).toEqual([ONE, THREE, FOUR]);
  });

  it('evicts nothing when that would not be enough', async () => {
    await restart({ maxBytes: 1000 });
    for (const key of [ONE, TWO]) await server.putObject(key, 400);
    live.add(ONE);
    expect((await server.putObject(THREE, 700)).status).toBe(507);
    expect(await server.listKeys()).toEqual([ONE, TWO]);
  });

  it('leaves free what the disk must keep free', async () => {
    let free = 10_000;
    await restart({ minFreeBytes: 9_000, readFreeBytes: async () => free });
    expect((await server.putObject(ONE, 1_000)).status).toBe(200);
    live.add(ONE);
    free = 9_000;
    expect((await server.putObject(TWO, 1)).status).toBe(507);
    expect((await server.putObject(THREE, 0)).status).toBe(200);
  });

  it('counts what is promised to bodies that are still arriving', async () => {
    await restart({ maxBytes: 1000 });
    const arriving = once(server.events, 'bytes');
    const call = await beginPut(await server.signPut(ONE), 800, randomBytes(10));
    await arriving;
    expect((await server.putObject(TWO, 300)).status).toBe(507);
    const handled = once(server.events, 'handled');
    call.destroy();
    await handled;
    expect((await server.putObject(TWO, 300)).status).toBe(200);
  });

  it('counts parts, gives their space back when the upload is aborted, and keeps it when it is completed', async () => {
    const id = await server.store.createUpload(ONE, 1000);
    const sendPart = async (part: number, size: number) => {
      const answer = await put(await server.store.signPart(ONE, id, part, server.signing()), randomBytes(size));
      return { part_number: part, etag: String(answer.headers.etag) };
    };
    const first = await sendPart(1, 1000);
    await sendPart(2, 700);
    const second = await sendPart(2, 500);
    await sendPart(3, 100);
    expect(server.store.usedBytes).toBe(1600);
    await server.store.completeUpload(ONE, id, [first, second]);
    expect(server.store.usedBytes).toBe(1500);
    expect(await server.listUnfinished()).toEqual([]);
    const other = await server.store.createUpload(TWO, 1000);
    await put(await server.store.signPart(TWO, other, 1, server.signing()), randomBytes(100));
    await server.store.abortUpload(TWO, other);
    expect(server.store.usedBytes).toBe(1500);
    expect(await server.listUnfinished()).toEqual([]);
  });
});
