import { mkdir, open, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ensureMinio } from '../../scripts/minio.mjs';
import { S3Store } from '../../src/store/s3-store.ts';
import { type Minio, startMinio } from '../../test/support/minio.ts';
import { type DataFile, GIB, makeRandom, MIB, touch } from '../data.ts';
import { alternate, cpuPerGib, getOnce, withCpu } from '../measure.ts';
import type { Processes } from '../processes.ts';
import { type Pair, postDataset, startPair } from '../relay.ts';
import { type Bench, type Line, type Scenario } from '../scenario.ts';

const PARALLEL = 4;
/** As relay's own parts are. */
const PART_BYTES = 16 * MIB;

/** Offloading to a store: beside what the store takes by itself, and into the router's own store beside a plain transfer. */
export const offload: Scenario = {
  name: 'offload',
  run: async (bench) => [...(await measureS3(bench)), await measureFileStore(bench)],
};

async function measureS3({ runs, isQuick, directory, processes, say }: Bench): Promise<Line[]> {
  const rate = { name: 'offload: s3', unit: 'MB/s', target: { of: 'ratio', atLeast: 0.9 } } as const;
  const cpu = { name: 'offload: s3, CPU of the router', unit: 's/GiB', target: { of: 'relay', atMost: 0.02 } } as const;
  try {
    await ensureMinio(say);
  } catch (error) {
    const missing = (error as Error).message;
    return [rate, cpu].map((line) => ({ ...line, relay: [], missing }));
  }
  const dataDir = join(directory, 'data');
  await mkdir(dataDir);
  const file = await makeRandom(dataDir, 'large.bin', isQuick ? 256 * MIB : 2 * GIB);
  await using minio = await startMinio();
  const bucket = await minio.createBucket();
  const store = openStore(minio, bucket);
  try {
    const own = join(directory, 's3');
    await mkdir(own);
    const pair = await startPair(processes, {
      directory: own,
      dataDir,
      routerArgs: ['--store', `s3://${bucket}`, '--s3-endpoint', minio.endpoint, '--s3-region', 'us-east-1'],
      routerEnv: { AWS_ACCESS_KEY_ID: minio.accessKey, AWS_SECRET_ACCESS_KEY: minio.secretKey },
    });
    const parts = await split(file, own);
    // Whatever is loaded on first use is loaded.
    await requestOffload(processes, own, pair, await makeRandom(dataDir, 'warm.bin', MIB));
    const cpus: number[] = [];
    const { relay, rival } = await alternate(
      runs,
      async () => {
        const { result, cpu: seconds } = await withCpu([pair.router.pid], () =>
          requestOffload(processes, own, pair, file),
        );
        cpus.push(cpuPerGib(seconds, file.bytes));
        for await (const { key } of store.list()) await store.remove(key);
        return result;
      },
      () => upload(processes, store, parts, file.bytes),
    );
    await pair.stop();
    return [
      { ...rate, relay, rival: { name: 'four parts at once with curl', figures: rival } },
      { ...cpu, relay: cpus },
    ];
  } finally {
    await store.close();
  }
}

const openStore = (minio: Minio, bucket: string): S3Store =>
  new S3Store({
    bucket,
    endpoint: minio.endpoint,
    region: 'us-east-1',
    credentials: { accessKeyId: minio.accessKey, secretAccessKey: minio.secretKey },
  });

/** Has a dataset offloaded. @returns MB/s from the request to the URL. */
async function requestOffload(processes: Processes, own: string, { router }: Pair, file: DataFile): Promise<number> {
  // What is there already is not uploaded again.
  await touch(file);
  const body = await postDataset(own, file.name);
  const curl = ['curl', '-sS', '--fail-with-body', '-w', '\\n%{time_total}', ...body];
  const { stdout } = await processes.run([...curl, `${router.url}/datasets/request-offload`]);
  return file.bytes / 1e6 / Number(stdout.split('\n').at(-1));
}

/** Cuts a file into the parts that curl uploads. */
async function split({ path, bytes }: DataFile, directory: string): Promise<string[]> {
  await using file = await open(path);
  const parts: string[] = [];
  for (let start = 0; start < bytes; start += PART_BYTES) {
    const { buffer, bytesRead } = await file.read(Buffer.allocUnsafe(PART_BYTES), 0, PART_BYTES, start);
    const part = join(directory, `part-${parts.length + 1}`);
    await writeFile(part, buffer.subarray(0, bytesRead));
    parts.push(part);
  }
  return parts;
}

/** Puts parts into the store and makes an object of them. @returns MB/s from the beginning of the upload to its object. */
async function upload(processes: Processes, store: S3Store, parts: readonly string[], bytes: number): Promise<number> {
  const key = `plain/${Date.now()}`;
  const signing = { expiresAt: new Date(Date.now() + 3_600_000), baseUrl: '' };
  const begun = performance.now();
  const uploadId = await store.createUpload(key, PART_BYTES);
  const signed = await Promise.all(parts.map((_, at) => store.signPart(key, uploadId, at + 1, signing)));
  const targets = signed.flatMap(({ url }, at) => ['-T', parts[at] ?? '', url]);
  const curl = ['curl', '-sS', '--fail', '--parallel', '--parallel-max', String(PARALLEL)];
  const { stdout } = await processes.run([...curl, '-w', '%{url_effective} %header{etag}\\n', ...targets]);
  const uploaded = stdout
    .trim()
    .split('\n')
    .map((line) => {
      const [url = '', etag = ''] = line.split(' ');
      return { part_number: Number(new URL(url).searchParams.get('partNumber')), etag };
    });
  await store.completeUpload(
    key,
    uploadId,
    uploaded.toSorted((a, b) => a.part_number - b.part_number),
  );
  const ms = performance.now() - begun;
  await store.remove(key);
  return bytes / 1000 / ms;
}

async function measureFileStore({ runs, isQuick, directory, processes }: Bench): Promise<Line> {
  const dataDir = join(directory, 'file-data');
  const own = join(directory, 'file');
  await mkdir(dataDir);
  await mkdir(own);
  const file = await makeRandom(dataDir, 'large.bin', isQuick ? 64 * MIB : 512 * MIB);
  const pair = await startPair(processes, { directory: own, dataDir });
  const { relay, rival } = await alternate(
    runs,
    () => requestOffload(processes, own, pair, file),
    async () => (await getOnce(processes, pair.urlOf(file.name), file)).megabytesPerSecond,
  );
  await pair.stop();
  return { name: 'offload: file store', unit: 'MB/s', relay, rival: { name: 'pattern B', figures: rival } };
}
