import { createHash, randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { parseMac } from '../../../src/protocol/mac.ts';
import { RelayError } from '../../../src/protocol/errors.ts';
import type { Mac } from '../../../src/protocol/mac.ts';
import { createObjectKey } from '../../../src/store/object-key.ts';
import type { ObjectStore, SigningOptions } from '../../../src/store/object-store.ts';
import { beginPut, put, send, whenClosed } from './http-client.ts';

/** A store to be tested, open. */
export interface StoreUnderTest extends AsyncDisposable {
  readonly store: ObjectStore;
  readonly baseUrl: string;
  /** A store of the same kind that cannot be reached. */
  readonly unreachable: ObjectStore;
  /** Whether it can list uploads that are not finished. */
  readonly listsUploads: boolean;
}

/** The smallest part that S3 takes. */
const PART_BYTES = 5 * 1024 * 1024;
const MAC = parseMac('cc:28:aa:01:02:03') as Mac;
const EMPTY_SHA256 = createHash('sha256').digest('hex');

const newKey = (): string => createObjectKey(MAC);
const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');
const errorOf = async (action: Promise<unknown>): Promise<RelayError> => {
  const thrown: unknown = await action.then(
    () => undefined,
    (error: unknown) => error,
  );
  if (!(thrown instanceof RelayError)) throw new Error(`no RelayError but ${String(thrown)}`);
  return thrown;
};

async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}

/** What every object store must do, whatever it is made of. */
export function describeObjectStore(title: string, start: () => Promise<StoreUnderTest>): void {
  describe(`object store: ${title}`, () => {
    let subject: StoreUnderTest;
    let store: ObjectStore;

    beforeAll(async () => {
      subject = await start();
      store = subject.store;
    });
    afterAll(async () => {
      await subject[Symbol.asyncDispose]();
    });

    const signing = (): SigningOptions => ({ expiresAt: new Date(Date.now() + 60_000), baseUrl: subject.baseUrl });
    const signGet = (key: string, filename = 'data.bin') => store.signGet(key, { ...signing(), filename });
    const putWhole = async (key: string, body: Buffer) => put(await store.signPut(key, signing()), body);
    const putPart = async (key: string, id: string, part: number, body: Buffer) => {
      const answer = await put(await store.signPart(key, id, part, signing()), body);
      expect(answer.status).toBe(200);
      return { part_number: part, etag: String(answer.headers.etag) };
    };

    it('opens again what is open', async () => {
      await expect(store.open()).resolves.toBeUndefined();
    });

    it.each([0, 1, 65_537, 5_000_001])('takes and gives %i bytes in one piece', async (size) => {
      const body = randomBytes(size);
      const key = newKey();
      const answer = await putWhole(key, body);
      expect(answer.status).toBe(200);
      expect(answer.headers.etag).toMatch(/^".+"$/);
      const got = await send('GET', await signGet(key));
      expect(got.status).toBe(200);
      expect(got.headers['content-length']).toBe(String(size));
      expect(got.headers.etag).toBe(answer.headers.etag);
      expect(sha256(got.body)).toBe(sha256(body));
    });

    it('says what it has, and nothing of what it has not', async () => {
      const key = newKey();
      expect(await store.stat(key)).toBeUndefined();
      const before = Date.now();
      await putWhole(key, Buffer.from('hello'));
      const object = await store.stat(key);
      expect(object).toMatchObject({ key, size: 5 });
      // Some stores count in seconds, and their clock need not be ours to the millisecond.
      expect(Math.abs((object?.modifiedAt.getTime() ?? 0) - before)).toBeLessThan(10_000);
      expect(await collect(store.list())).toContainEqual(expect.objectContaining({ key, size: 5 }));
    });

    it('removes an object, and one that is not there', async () => {
      const key = newKey();
      await putWhole(key, Buffer.from('hello'));
      await store.remove(key);
      await store.remove(key);
      expect(await store.stat(key)).toBeUndefined();
      expect((await send('GET', await signGet(key))).status).toBe(404);
      expect((await collect(store.list())).map((object) => object.key)).not.toContain(key);
    });

    it('makes an object out of parts that came out of order and side by side', async () => {
      const key = newKey();
      const body = randomBytes(3 * PART_BYTES + 12_345);
      const id = await store.createUpload(key, PART_BYTES);
      const sendPart = (part: number) =>
        putPart(key, id, part, body.subarray((part - 1) * PART_BYTES, part * PART_BYTES));
      const last = await sendPart(4);
      const [third, first, second] = await Promise.all([sendPart(3), sendPart(1), sendPart(2)]);
      expect(await store.stat(key)).toBeUndefined();
      await store.completeUpload(key, id, [first, second, third, last] as never);
      expect(await store.stat(key)).toMatchObject({ size: body.length });
      expect(sha256((await send('GET', await signGet(key))).body)).toBe(sha256(body));
    });

    it('takes one part alone, even an empty one', async () => {
      const key = newKey();
      const id = await store.createUpload(key, PART_BYTES);
      await store.completeUpload(key, id, [await putPart(key, id, 1, Buffer.alloc(0))]);
      expect(sha256((await send('GET', await signGet(key))).body)).toBe(EMPTY_SHA256);
    });

    it('counts the last of several PUTs of a part, after one that broke off', async () => {
      const key = newKey();
      const id = await store.createUpload(key, PART_BYTES);
      const wanted = randomBytes(1000);
      const broken = await beginPut(await store.signPart(key, id, 1, signing()), 1000, randomBytes(500));
      broken.destroy();
      await putPart(key, id, 1, randomBytes(2000));
      await store.completeUpload(key, id, [await putPart(key, id, 1, wanted)]);
      expect((await send('GET', await signGet(key))).body).toEqual(wanted);
    });

    it('completes an upload a second time without harm', async () => {
      const key = newKey();
      const id = await store.createUpload(key, PART_BYTES);
      const parts = [await putPart(key, id, 1, Buffer.from('hello'))];
      await store.completeUpload(key, id, parts);
      await store.completeUpload(key, id, parts);
      expect((await send('GET', await signGet(key))).body.toString()).toBe('hello');
    });

    it('refuses parts that are missing, out of order or of another PUT, and makes no object of them', async () => {
      const key = newKey();
      const id = await store.createUpload(key, PART_BYTES);
      const first = await putPart(key, id, 1, randomBytes(PART_BYTES));
      const second = await putPart(key, id, 2, randomBytes(1000));
      const wrong = { part_number: 2, etag: '"00000000000000000000000000000000"' };
      const absent = { part_number: 3, etag: second.etag };
      for (const parts of [[], [second], [second, first], [first, wrong], [first, second, absent]]) {
        expect((await errorOf(store.completeUpload(key, id, parts))).code).toBe('invalid_request');
      }
      expect(await store.stat(key)).toBeUndefined();
      await store.completeUpload(key, id, [first, second]);
      expect(await store.stat(key)).toMatchObject({ size: PART_BYTES + 1000 });
    });

    it('refuses a part in the middle that is too short', async () => {
      const key = newKey();
      const id = await store.createUpload(key, PART_BYTES);
      const parts = [await putPart(key, id, 1, randomBytes(1000)), await putPart(key, id, 2, randomBytes(1000))];
      expect((await errorOf(store.completeUpload(key, id, parts))).code).toBe('invalid_request');
      expect(await store.stat(key)).toBeUndefined();
    });

    it('forgets an upload that is aborted', async () => {
      const key = newKey();
      const id = await store.createUpload(key, PART_BYTES);
      const part = await putPart(key, id, 1, randomBytes(1000));
      const url = await store.signPart(key, id, 2, signing());
      await store.abortUpload(key, id);
      await store.abortUpload(key, id);
      expect((await put(url, randomBytes(1000))).status).toBe(404);
      const error = await errorOf(store.completeUpload(key, id, [part]));
      expect(error.code).toBe('store_unavailable');
      expect(await store.stat(key)).toBeUndefined();
    });

    it('says which parts are there, and nothing of an upload that is not', async () => {
      const key = newKey();
      const id = await store.createUpload(key, PART_BYTES);
      expect(await store.listParts(key, id)).toEqual([]);
      const second = await putPart(key, id, 2, randomBytes(1000));
      const first = await putPart(key, id, 1, randomBytes(PART_BYTES));
      const broken = await beginPut(await store.signPart(key, id, 3, signing()), 1000, randomBytes(500));
      broken.destroy();
      expect(await store.listParts(key, id)).toEqual([
        { ...first, size: PART_BYTES },
        { ...second, size: 1000 },
      ]);
      await store.abortUpload(key, id);
      expect(await store.listParts(key, id)).toBeUndefined();
    });

    it('lists uploads that are not finished, where it can', async () => {
      const key = newKey();
      const id = await store.createUpload(key, PART_BYTES);
      const listed = (await collect(store.listUploads())).filter((upload) => upload.key === key);
      expect(listed.map((upload) => upload.uploadId)).toEqual(subject.listsUploads ? [id] : []);
      await store.abortUpload(key, id);
      const after = await collect(store.listUploads());
      expect(after.filter((upload) => upload.key === key)).toEqual([]);
    });

    it('keeps nothing of a PUT that breaks off', async () => {
      const key = newKey();
      const call = await beginPut(await store.signPut(key, signing()), 2_000_000, randomBytes(1_000_000));
      const closed = whenClosed(call);
      call.destroy();
      await closed;
      expect(await store.stat(key)).toBeUndefined();
      expect((await collect(store.list())).map((object) => object.key)).not.toContain(key);
    });

    it('gives ranges', async () => {
      const key = newKey();
      await putWhole(key, Buffer.from('0123456789'));
      const url = await signGet(key);
      for (const [range, expected, field] of [
        ['bytes=0-0', '0', 'bytes 0-0/10'],
        ['bytes=3-5', '345', 'bytes 3-5/10'],
        ['bytes=7-', '789', 'bytes 7-9/10'],
        ['bytes=-2', '89', 'bytes 8-9/10'],
        ['bytes=8-100', '89', 'bytes 8-9/10'],
      ] as const) {
        const answer = await send('GET', url, { range });
        expect([answer.status, answer.body.toString(), answer.headers['content-range']]).toEqual([
          206,
          expected,
          field,
        ]);
      }
      expect((await send('GET', url, { range: 'bytes=10-' })).status).toBe(416);
    });

    it('gives a part to who names the right object, and refuses others', async () => {
      const key = newKey();
      const { etag } = (await putWhole(key, Buffer.from('0123456789'))).headers;
      const url = await signGet(key);
      const right = await send('GET', url, { range: 'bytes=1-2', 'if-match': String(etag) });
      expect([right.status, right.body.toString()]).toEqual([206, '12']);
      expect((await send('GET', url, { range: 'bytes=1-2', 'if-match': '"another"' })).status).toBe(412);
      expect((await send('GET', url, { 'if-none-match': String(etag) })).status).toBe(304);
    });

    it('serves a download as an attachment under the name of the dataset', async () => {
      const key = newKey();
      await putWhole(key, Buffer.from('a,b'));
      const { headers } = await send('GET', await signGet(key, 'dir/Größe "1" #%😀.csv'));
      expect(headers['content-disposition']).toBe(
        `attachment; filename="Gr__e _1_ #___.csv"; filename*=UTF-8''Gr%C3%B6%C3%9Fe%20%221%22%20%23%25%F0%9F%98%80.csv`,
      );
      expect(headers['content-type']).toBe('application/octet-stream');
      expect(headers['cache-control']).toBe('private, no-store');
    });

    it('refuses a URL that was changed', async () => {
      const key = newKey();
      const other = newKey();
      await putWhole(key, Buffer.from('mine'));
      await putWhole(other, Buffer.from('theirs'));
      const url = await signGet(key);
      expect((await send('GET', url.replace(key, other))).status).toBe(403);
      expect((await put({ url, headers: {} }, Buffer.from('overwritten'))).status).toBe(403);
      expect((await send('GET', (await store.signPut(key, signing())).url)).status).toBe(403);
      expect((await send('GET', url.replace(/\?.*/, ''))).status).toBe(403);
      expect((await send('GET', url)).body.toString()).toBe('mine');
    });

    it('names an object without a signature, the same each time, as its URLs do', async () => {
      const key = newKey();
      const name = store.nameObject(key, subject.baseUrl);
      expect(store.nameObject(key, subject.baseUrl)).toBe(name);
      expect(name).not.toContain('?');
      expect((await signGet(key)).startsWith(`${name}?`)).toBe(true);
    });

    it('says that it is not available when it cannot be reached', async () => {
      const { unreachable } = subject;
      const begun = Date.now();
      const key = newKey();
      for (const action of [() => unreachable.open(), () => unreachable.createUpload(key, PART_BYTES)]) {
        const error = await errorOf(action());
        expect([error.code, error.retryable]).toEqual(['store_unavailable', true]);
      }
      expect(Date.now() - begun).toBeLessThan(12_000);
      await unreachable.close();
    });
  });
}
