import { once } from 'node:events';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { RelayError } from '../../../src/protocol/errors.ts';
import { S3Store, type S3StoreOptions } from '../../../src/store/s3-store.ts';
import { type Minio, startMinio } from '../../support/minio.ts';
import { describeObjectStore } from './contract.ts';

const optionsFor = (minio: Minio, bucket: string): S3StoreOptions => ({
  bucket,
  endpoint: minio.endpoint,
  credentials: { accessKeyId: minio.accessKey, secretAccessKey: minio.secretKey },
});

describeObjectStore('S3, on MinIO', async () => {
  const minio = await startMinio();
  const store = new S3Store({ ...optionsFor(minio, await minio.createBucket()), prefix: 'of/relay' });
  await store.open();
  return {
    store,
    baseUrl: 'http://router.invalid',
    // It lists uploads by their exact key only.
    listsUploads: false,
    unreachable: new S3Store({ ...optionsFor(minio, 'gone'), endpoint: 'http://127.0.0.1:1' }),
    [Symbol.asyncDispose]: async () => {
      await store.close();
      await minio[Symbol.asyncDispose]();
    },
  };
});

describe('S3 store', () => {
  let minio: Minio;

  beforeAll(async () => {
    minio = await startMinio();
  });
  afterAll(async () => {
    await minio[Symbol.asyncDispose]();
  });

  it('makes the bucket where it is missing, and lists only what is its own', async () => {
    const store = new S3Store({ ...optionsFor(minio, 'made-by-relay'), prefix: 'a' });
    const other = new S3Store({ ...optionsFor(minio, 'made-by-relay'), prefix: 'ab' });
    await store.open();
    const key = 'datasets/cc-28-aa-01-02-03/1';
    const signing = { expiresAt: new Date(Date.now() + 60_000), baseUrl: '' };
    for (const each of [store, other]) {
      const { url } = await each.signPut(key, signing);
      expect((await fetch(url, { method: 'PUT', body: 'x' })).status).toBe(200);
    }
    const listed: string[] = [];
    for await (const object of store.list()) listed.push(object.key);
    expect(listed).toEqual([key]);
    expect(await minio.listKeys('made-by-relay')).toEqual([`a/${key}`, `ab/${key}`]);
    await store.close();
    await other.close();
  });

  it('signs URLs for nodes and for apps by the endpoints of each', async () => {
    const store = new S3Store({
      ...optionsFor(minio, 'some-bucket'),
      nodeEndpoint: 'https://for-nodes.example',
      appEndpoint: 'https://for-apps.example/s3',
    });
    const signing = { expiresAt: new Date(Date.now() + 60_000), baseUrl: '' };
    const key = 'datasets/cc-28-aa-01-02-03/1';
    expect((await store.signPut(key, signing)).url).toMatch(/^https:\/\/for-nodes\.example\/some-bucket\/datasets\//);
    expect((await store.signPart(key, 'id', 1, signing)).url).toMatch(/^https:\/\/for-nodes\.example\/some-bucket\//);
    const get = await store.signGet(key, { ...signing, filename: 'a.csv' });
    expect(get).toMatch(/^https:\/\/for-apps\.example\/s3\/some-bucket\/datasets\//);
    expect(get.startsWith(`${store.nameObject(key, '')}?`)).toBe(true);
    await store.close();
  });

  it('names objects on AWS itself as its URLs do', async () => {
    const credentials = { accessKeyId: 'AKIDEXAMPLE', secretAccessKey: 'not-a-real-secret' };
    const store = new S3Store({ bucket: 'some-bucket', region: 'eu-central-1', credentials });
    const key = 'datasets/cc-28-aa-01-02-03/1';
    const get = await store.signGet(key, { expiresAt: new Date(Date.now() + 60_000), baseUrl: '', filename: 'a' });
    expect(store.nameObject(key, '')).toBe(`https://some-bucket.s3.eu-central-1.amazonaws.com/${key}`);
    expect(get.startsWith(`${store.nameObject(key, '')}?`)).toBe(true);
    await store.close();
  });

  it('puts no checksum into its URLs', async () => {
    const store = new S3Store(optionsFor(minio, 'some-bucket'));
    const { url } = await store.signPut('datasets/cc-28-aa-01-02-03/1', {
      expiresAt: new Date(Date.now() + 1000),
      baseUrl: '',
    });
    expect(url.toLowerCase()).not.toMatch(/checksum|crc32/);
    await store.close();
  });

  it('names endpoint and cause, and no secret, when the credentials are wrong', async () => {
    const secretAccessKey = 'a-secret-that-must-not-be-shown';
    const store = new S3Store({
      ...optionsFor(minio, 'some-bucket'),
      credentials: { accessKeyId: minio.accessKey, secretAccessKey },
    });
    for (const action of [() => store.open(), () => store.createUpload('datasets/a/b', 1)]) {
      const error = await action().then(
        () => undefined,
        (thrown: unknown) => thrown,
      );
      expect(error).toBeInstanceOf(RelayError);
      expect(error).toMatchObject({ code: 'store_unavailable', message: expect.stringContaining(minio.endpoint) });
      expect((error as RelayError).message).toMatch(/denied|signature/i);
      expect((error as RelayError).message).not.toContain(secretAccessKey);
    }
    await store.close();
  });

  it('gives up on an endpoint that takes connections and says nothing', async () => {
    // Reads, so that it sees the end of a connection: none may be left when the store is closed.
    const mute = createServer((socket) => void socket.on('error', () => undefined).resume());
    mute.listen(0, '127.0.0.1');
    await once(mute, 'listening');
    const store = new S3Store({
      ...optionsFor(minio, 'some-bucket'),
      endpoint: `http://127.0.0.1:${(mute.address() as AddressInfo).port}`,
      timeoutMs: 300,
    });
    await expect(store.open()).rejects.toMatchObject({
      code: 'store_unavailable',
      message: expect.stringContaining('no answer within 0.3 s'),
    });
    await store.close();
    mute.close();
    await once(mute, 'close');
  });

  it('takes up where a former process ended', async () => {
    const options = optionsFor(minio, await minio.createBucket());
    const key = 'datasets/cc-28-aa-01-02-03/1';
    const signing = { expiresAt: new Date(Date.now() + 60_000), baseUrl: '' };
    const first = new S3Store(options);
    const id = await first.createUpload(key, 5 * 1024 * 1024);
    await first.close();
    const second = new S3Store(options);
    const { url } = await second.signPart(key, id, 1, signing);
    const etag = String((await fetch(url, { method: 'PUT', body: 'hello' })).headers.get('etag'));
    await second.completeUpload(key, id, [{ part_number: 1, etag }]);
    expect(await second.stat(key)).toMatchObject({ size: 5 });
    await second.close();
  });
});
