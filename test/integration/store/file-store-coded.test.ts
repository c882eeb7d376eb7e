import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { SignedRequest } from '../../../src/protocol/commands.ts';
import { type FileStoreServer, startFileStore } from './file-store-server.ts';
import { type Answer, put, send } from './http-client.ts';

const KEY = 'datasets/cc-28-aa-01-02-03/one';
const MIB = 1024 * 1024;
const CODERS = { zstd: zstdCompressSync, gzip: gzipSync };
const TEXT = Buffer.concat([Buffer.alloc(3 * MIB, 'time,sensor,value\n2026-01-01T00:00,17,21.5\n'), randomBytes(1000)]);

describe.each(['zstd', 'gzip'] as const)('file store: uploads coded with %s', (coding) => {
  const encode = (content: Buffer): Buffer => CODERS[coding](content);
  let server: FileStoreServer;
  let arrived = 0;

  beforeEach(async () => {
    server = await startFileStore();
    arrived = 0;
    server.events.on('bytes', (_: string, count: number) => {
      arrived += count;
    });
  });
  afterEach(async () => {
    await server[Symbol.asyncDispose]();
  });

  /** PUTs a body of which it says that it has so many bytes before the coding. */
  const putCoded = (
    { url }: Pick<SignedRequest, 'url'>,
    body: Buffer,
    length: number | string,
    headers: Record<string, string> = {},
  ): Promise<Answer> =>
    send(
      'PUT',
      url,
      {
        'content-encoding': coding,
        'relay-plain-length': String(length),
        'transfer-encoding': 'chunked',
        ...headers,
      },
      body,
    );

  const beginUpload = async (partSize: number) => {
    const id = await server.store.createUpload(KEY, partSize);
    const sign = (number: number): Promise<SignedRequest> => server.store.signPart(KEY, id, number, server.signing());
    const complete = (answers: Answer[]): Promise<void> =>
      server.store.completeUpload(
        KEY,
        id,
        answers.map(({ headers }, index) => ({ part_number: index + 1, etag: String(headers['etag']) })),
      );
    return { id, sign, complete };
  };

  const download = async (range?: string): Promise<Buffer> =>
    (await send('GET', await server.signGet(KEY), range === undefined ? {} : { range })).body;

  const codeOf = ({ body }: Answer): unknown => (JSON.parse(body.toString()) as { code: unknown }).code;

  it('keeps an object as it was before the coding, and counts it so', async () => {
    const stored = await putCoded(await server.signPut(KEY), encode(TEXT), TEXT.length);
    expect(stored.status).toBe(200);
    expect((await server.store.stat(KEY))?.size).toBe(TEXT.length);
    expect([server.store.usedBytes, arrived]).toEqual([TEXT.length, TEXT.length]);
    const got = await send('GET', await server.signGet(KEY), { 'accept-encoding': coding });
    expect(got.body.equals(TEXT)).toBe(true);
    expect(got.headers).toMatchObject({ etag: stored.headers['etag'], 'content-length': String(TEXT.length) });
    expect(got.headers).not.toHaveProperty('content-encoding');
    expect((await download('bytes=1000-1999')).equals(TEXT.subarray(1000, 2000))).toBe(true);
  });

  it('takes an empty one, and one with a length of its own', async () => {
    expect((await putCoded(await server.signPut(KEY), encode(Buffer.alloc(0)), 0)).status).toBe(200);
    expect((await server.store.stat(KEY))?.size).toBe(0);
    const body = encode(TEXT);
    const { url } = await server.signPut(KEY);
    const headers = { 'content-encoding': coding, 'relay-plain-length': String(TEXT.length) };
    expect((await put({ url, headers }, body)).status).toBe(200);
    expect((await download()).equals(TEXT)).toBe(true);
  });

  it('puts parts together, coded or not, and their pieces at the places that they had before the coding', async () => {
    const upload = await beginUpload(MIB);
    const parts = [0, 1, 2, 3].map((number) => TEXT.subarray(number * MIB, (number + 1) * MIB));
    const [first, second, third, last] = parts as [Buffer, Buffer, Buffer, Buffer];
    const answers = [await putCoded(await upload.sign(1), encode(first), MIB), await put(await upload.sign(2), second)];
    const target = await upload.sign(3);
    const piece = (start: number, end: number): Promise<Answer> =>
      putCoded(target, encode(third.subarray(start, end)), end - start, {
        'content-range': `bytes ${start}-${end - 1}/${MIB}`,
      });
    expect((await piece(0, 400_000)).status).toBe(202);
    expect([(await piece(500_000, MIB)).status, (await piece(0, 300_000)).status]).toEqual([409, 202]);
    answers.push(await piece(300_000, MIB), await putCoded(await upload.sign(4), encode(last), last.length));
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200]);
    expect(await server.store.listParts(KEY, upload.id)).toMatchObject(
      [MIB, MIB, MIB, last.length].map((size, index) => ({ part_number: index + 1, size })),
    );
    await upload.complete(answers);
    expect((await download()).equals(TEXT)).toBe(true);
    expect(server.store.usedBytes).toBe(TEXT.length);
  });

  it('keeps nothing of a body that ends in the middle of its coding', async () => {
    const cut = encode(TEXT).subarray(0, -5);
    const upload = await beginUpload(4 * MIB);
    for (const target of [await server.signPut(KEY), await upload.sign(1)]) {
      await expect(putCoded(target, cut, TEXT.length)).rejects.toThrow(/ECONNRESET|hang up/);
    }
    expect(await server.listKeys()).toEqual([]);
    expect([await server.store.listParts(KEY, upload.id), server.store.usedBytes]).toEqual([[], 0]);
  });

  it('keeps nothing of a body that cannot be decoded, and keeps what was there of the part', async () => {
    const garbled = encode(TEXT);
    garbled.fill(0xff, 20, 120);
    const answer = await putCoded(await server.signPut(KEY), garbled, TEXT.length);
    expect([answer.status, codeOf(answer)]).toEqual([400, 'invalid_request']);
    expect(await server.listUnfinished()).toEqual([]);
    const upload = await beginUpload(MIB);
    const target = await upload.sign(1);
    const ranged = { 'content-range': `bytes 0-499/1000` };
    expect((await putCoded(target, encode(TEXT.subarray(0, 500)), 500, ranged)).status).toBe(202);
    const rest = { 'content-range': `bytes 500-999/1000` };
    expect((await putCoded(target, randomBytes(300), 500, rest)).status).toBe(400);
    expect(server.store.usedBytes).toBe(500);
    expect((await putCoded(target, encode(TEXT.subarray(500, 1000)), 500, rest)).status).toBe(200);
  });

  it('cuts what decodes to more than it says, and refuses what says more than a part has', async () => {
    const bomb = encode(Buffer.alloc(256 * MIB));
    const upload = await beginUpload(MIB);
    for (const target of [await server.signPut(KEY), await upload.sign(1)]) {
      const answer = await putCoded(target, bomb, 1000);
      expect([answer.status, codeOf(answer)]).toEqual([400, 'invalid_request']);
    }
    expect((await putCoded(await upload.sign(1), bomb, 256 * MIB)).status).toBe(400);
    const range = { 'content-range': `bytes 0-999/${MIB}` };
    expect((await putCoded(await upload.sign(1), bomb, 1000, range)).status).toBe(400);
    expect((await putCoded(await upload.sign(1), bomb, 2000, range)).status).toBe(400);
    expect(arrived).toBe(0);
    expect([await server.listKeys(), server.store.usedBytes]).toEqual([[], 0]);
    expect(await server.store.listParts(KEY, upload.id)).toEqual([]);
  });

  it('refuses what is shorter than it says, and what does not say how long it is', async () => {
    const { url } = await server.signPut(KEY);
    expect((await putCoded({ url }, encode(TEXT), TEXT.length + 1)).status).toBe(400);
    for (const length of ['', '-1', '1e3', 'many', '99999999999999999']) {
      const answer = await putCoded({ url }, encode(TEXT), length);
      expect([answer.status, codeOf(answer)]).toEqual([400, 'invalid_request']);
    }
    expect((await send('PUT', url, { 'content-encoding': coding }, encode(TEXT))).status).toBe(400);
    expect([await server.listKeys(), server.store.usedBytes]).toEqual([[], 0]);
  });

  it('lets go of a coded body that another takes the place of', async () => {
    const target = await server.signPut(KEY);
    const handled = once(server.events, 'handled');
    // It decodes to more than is kept in memory, so that some of it is still to come.
    const older = putCoded(target, encode(Buffer.alloc(64 * MIB)), 64 * MIB).catch(() => undefined);
    await once(server.events, 'bytes');
    expect((await putCoded(target, encode(TEXT), TEXT.length)).status).toBe(200);
    await Promise.all([older, handled]);
    expect((await download()).equals(TEXT)).toBe(true);
    expect(server.store.usedBytes).toBe(TEXT.length);
    expect(await server.listUnfinished()).toEqual([]);
  });
});

describe('file store: other codings', () => {
  it.each(['br', 'deflate', 'gzip, zstd', 'zstd, zstd'])('refuses %s', async (coding) => {
    await using server = await startFileStore();
    const headers = { 'content-encoding': coding, 'relay-plain-length': '4' };
    expect((await send('PUT', (await server.signPut(KEY)).url, headers, Buffer.from('abcd'))).status).toBe(400);
    const id = await server.store.createUpload(KEY, MIB);
    const { url } = await server.store.signPart(KEY, id, 1, server.signing());
    expect((await send('PUT', url, headers, Buffer.from('abcd'))).status).toBe(400);
    expect(server.store.usedBytes).toBe(0);
  });

  it('takes identity for what it is', async () => {
    await using server = await startFileStore();
    const headers = { 'content-encoding': 'identity' };
    expect((await send('PUT', (await server.signPut(KEY)).url, headers, Buffer.from('abcd'))).status).toBe(200);
  });
});
