import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { createHash, randomFillSync } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, open, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { startMinio } from '../support/minio.ts';
import { readMemory, RELAY, run, startConnectorProcess, startRouterProcess } from '../support/processes.ts';
import { makeTempDir } from '../support/router.ts';

const MIB = 1024 * 1024;
const GIB = 1024 * MIB;
const NODES = { websocket: 'cc-28-aa-01-02-03', sse: 'cc-28-aa-01-02-04' } as const;
/** Pattern A takes 64 MiB by default. */
const BUFFER_CEILING = 64 * MIB;

/** Sizes around what a buffer or a chunk could be, under names that have to be quoted, encoded or escaped somewhere. */
const DATASETS: readonly [name: string, size: number][] = [
  ['empty file', 0],
  ['one#byte.bin', 1],
  ['100%.bin', 64 * 1024 - 1],
  ['dir with space/Übergröße.csv', 64 * 1024],
  ['emoji 😀 & more?.txt', 64 * 1024 + 1],
  ['quote\'s "both" \\ back.bin', 5_000_001],
  ['gigabyte.bin', GIB],
];

const resources = new AsyncDisposableStack();
const routers: Record<'file' | 's3', { url: string; pid: number }> = {
  file: { url: '', pid: 0 },
  s3: { url: '', pid: 0 },
};
const digests = new Map<string, string>();
let outDir = '';

beforeAll(async () => {
  const data = resources.use(await makeTempDir());
  outDir = resources.use(await makeTempDir()).path;
  for (const [name, size] of DATASETS) digests.set(name, await makeFile(join(data.path, name), size));
  const minio = resources.use(await startMinio());
  const bucket = await minio.createBucket();
  const env = {
    AWS_ACCESS_KEY_ID: minio.accessKey,
    AWS_SECRET_ACCESS_KEY: minio.secretKey,
    AWS_ENDPOINT_URL_S3: minio.endpoint,
  };
  for (const [kind, args, variables] of [
    ['file', [], {}],
    ['s3', ['--store', `s3://${bucket}/relay`], env],
  ] as const) {
    const router = resources.use(await startRouterProcess(args, variables));
    routers[kind] = { url: router.url, pid: router.pid };
    for (const [transport, mac] of Object.entries(NODES)) {
      resources.use(await startConnectorProcess(router.url, mac, data.path, ['--transport', transport]));
    }
  }
}, 300_000);

afterAll(() => resources.disposeAsync(), 60_000);

const CASES = (['request-sync', 'request-stream', 'request-offload'] as const).flatMap((command) =>
  (['websocket', 'sse'] as const).flatMap((link) =>
    // The store only matters to who puts something there.
    (command === 'request-offload' ? (['file', 's3'] as const) : (['file'] as const)).map((store) => ({
      command,
      link,
      store,
    })),
  ),
);

describe.each(CASES)('$command over $link, store $store', ({ command, link, store }) => {
  const argsFor = (name: string): string[] => ['app', command, '--router', routers[store].url, '--', NODES[link], name];
  const isTooLarge = (size: number): boolean => command === 'request-sync' && size > BUFFER_CEILING;

  test.each(DATASETS.filter(([, size]) => !isTooLarge(size)))(
    '%j, %d bytes, to standard output and to a file',
    async (name, size) => {
      const { pid } = routers[store];
      const [app, ...rest] = argsFor(name);
      const target = join(outDir, 'out');
      const expected = digests.get(name);
      await resetPeakMemory(pid);
      const before = await readMemory(pid);
      expect(await relay(argsFor(name))).toEqual({ code: 0, stderr: '', sha256: expected });
      expect(await relay([app as string, command, '-o', target, ...rest.slice(1)])).toEqual({
        code: 0,
        stderr: '',
        sha256: sha256OfNothing,
      });
      const after = await readMemory(pid);
      expect(await hashFile(target)).toBe(expected);
      await rm(target);
      expect(await readdir(outDir)).toEqual([]);
      // A dataset passes through in pieces, and only pattern A keeps it for a while.
      const allowed = command === 'request-sync' ? 64 + (2 * size) / MIB : 64;
      expect((after.peak - before.resident) / MIB).toBeLessThan(allowed);
    },
    120_000,
  );

  const tooLarge = DATASETS.filter(([, size]) => isTooLarge(size));
  if (tooLarge.length > 0) {
    test.each(tooLarge)('%j, %d bytes, is refused with exit 10', async (name) => {
      const refused = await relay(argsFor(name));
      expect([refused.code, refused.sha256]).toEqual([10, sha256OfNothing]);
      expect(refused.stderr).toMatch(/request-stream|request-offload/);
    });
  }
});

/** Runs the command line with its output hashed on the way, since a gigabyte is not for memory. */
async function relay(args: readonly string[]): Promise<{ code: number | null; stderr: string; sha256: string }> {
  const script = `"$0" "$@" | sha256sum; exit \${PIPESTATUS[0]}`;
  const { code, stdout, stderr } = await run('bash', ['-c', script, process.execPath, RELAY, ...args]);
  return { code, stderr, sha256: stdout.toString().slice(0, 64) };
}

const sha256OfNothing = createHash('sha256').digest('hex');

async function makeFile(path: string, size: number): Promise<string> {
  await mkdir(join(path, '..'), { recursive: true });
  await using file = await open(path, 'wx');
  const hash = createHash('sha256');
  const block = randomFillSync(Buffer.alloc(Math.min(size, 4 * MIB)));
  for (let left = size; left > 0; left -= block.length) {
    // Every block differs, so that two that change places are noticed.
    if (block.length >= 8) block.writeDoubleLE(left, 0);
    const piece = block.subarray(0, Math.min(left, block.length));
    hash.update(piece);
    await file.writeFile(piece);
  }
  return hash.digest('hex');
}

async function hashFile(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const piece of createReadStream(path, { highWaterMark: MIB })) hash.update(piece as Buffer);
  return hash.digest('hex');
}

/** Makes the kernel count the peak from here (proc(5), clear_refs). */
const resetPeakMemory = (pid: number): Promise<void> => writeFile(`/proc/${pid}/clear_refs`, '5');
