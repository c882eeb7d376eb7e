import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { createHash, randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { S3Store } from '../../src/store/s3-store.ts';
import { describeObjectStore } from '../integration/store/contract.ts';
import { type Ceph, startCeph } from '../support/ceph.ts';
import { runRelay, startConnectorProcess, startRouterProcess } from '../support/processes.ts';
import { makeTempDir } from '../support/router.ts';

const MAC = 'cc-28-aa-01-02-03';
let ceph: Ceph;

beforeAll(async () => {
  ceph = await startCeph();
}, 180_000);
afterAll(async () => {
  await ceph[Symbol.asyncDispose]();
});

describeObjectStore('S3, on the Ceph gateway', async () => {
  const options = {
    bucket: 'relay-test',
    endpoint: ceph.endpoint,
    credentials: { accessKeyId: ceph.accessKey, secretAccessKey: ceph.secretKey },
  };
  const store = new S3Store({ ...options, prefix: 'of/relay' });
  await store.open();
  return {
    store,
    baseUrl: 'http://router.invalid',
    listsUploads: true,
    unreachable: new S3Store({ ...options, bucket: 'gone', endpoint: 'http://127.0.0.1:1' }),
    [Symbol.asyncDispose]: () => store.close(),
  };
});

test('a dataset goes by way of the Ceph gateway, in parts and verified', async () => {
  const content = randomBytes(100_000_000);
  await using data = await makeTempDir();
  await writeFile(join(data.path, 'a.bin'), content);
  await using router = await startRouterProcess(['--store', 's3://offloaded/relay'], {
    AWS_ACCESS_KEY_ID: ceph.accessKey,
    AWS_SECRET_ACCESS_KEY: ceph.secretKey,
    AWS_ENDPOINT_URL_S3: ceph.endpoint,
  });
  await using _connector = await startConnectorProcess(router.url, MAC, data.path);
  const asked = await runRelay(['app', 'request-offload', MAC, 'a.bin', '--verify', '--router', router.url]);
  expect([asked.code, asked.stderr]).toEqual([0, '']);
  const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');
  expect(sha256(asked.stdout)).toBe(sha256(content));
});
