import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { createHash } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { zstdCompressSync } from 'node:zlib';
import { FaultyLine } from '../support/faulty-line.ts';
import { run, runRelay, startConnectorProcess, startRouterProcess } from '../support/processes.ts';
import { makeTempDir } from '../support/router.ts';

const MAC = 'cc-28-aa-01-02-03';
const BYTES_PER_SECOND = 1_000_000;
const CSV = Buffer.from(
  Array.from({ length: 80_000 }, (_, index) => `${1_700_000_000 + index},sensor-${index % 17},21.5,ok\n`).join(''),
);
const digest = createHash('sha256').update(CSV).digest('hex');

const resources = new AsyncDisposableStack();
let line: FaultyLine;
let work = '';

beforeAll(async () => {
  work = resources.use(await makeTempDir()).path;
  const data = resources.use(await makeTempDir());
  await writeFile(join(data.path, 'a.csv'), CSV);
  const router = resources.use(await startRouterProcess());
  resources.use(await startConnectorProcess(router.url, MAC, data.path));
  line = resources.use(await FaultyLine.to(Number(new URL(router.url).port)));
  line.bytesPerSecond = BYTES_PER_SECOND;
}, 60_000);

afterAll(() => resources.disposeAsync());

/** What came down the line to the app while something was done. */
async function measure(transfer: () => Promise<void>): Promise<number> {
  const before = line.passed('data', 'down');
  await transfer();
  return line.passed('data', 'down') - before;
}

test.each(['request-stream', 'request-sync'])(
  'relay app %s gets a text coded, and verifies the dataset',
  async (pattern) => {
    const file = join(work, `${pattern}.csv`);
    const came = await measure(async () => {
      const { code, stderr } = await runRelay([
        'app',
        pattern,
        MAC,
        'a.csv',
        '--router',
        line.url,
        '-o',
        file,
        '--verify',
      ]);
      expect([code, stderr]).toEqual([0, '']);
    });
    expect(
      createHash('sha256')
        .update(await readFile(file))
        .digest('hex'),
    ).toBe(digest);
    expect(came).toBeLessThan(1.3 * zstdCompressSync(CSV).length + 20_000);
  },
);

test('a coded transfer that breaks off goes on as it is, and is verified as a whole', async () => {
  const file = join(work, 'resumed.csv');
  line.arm({ kind: 'cut', traffic: 'data', direction: 'down', afterBytes: 100_000, outageMs: 0 });
  const { code, stderr } = await runRelay(['app', 'request-stream', MAC, 'a.csv', '--router', line.url, '-o', file]);
  expect(code).toBe(0);
  expect(stderr).toMatch(/going on after/);
  expect(
    createHash('sha256')
      .update(await readFile(file))
      .digest('hex'),
  ).toBe(digest);
});

test('curl --compressed gets what the file is, and says so on the line', async () => {
  const file = join(work, 'curl.csv');
  const came = await measure(async () => {
    const url = `${line.url}/connectors/${MAC}/datasets/a.csv`;
    const { code } = await run('curl', ['-fsS', '--compressed', url, '-o', file]);
    expect(code).toBe(0);
  });
  expect(
    createHash('sha256')
      .update(await readFile(file))
      .digest('hex'),
  ).toBe(digest);
  expect(came).toBeLessThan(CSV.length / 2);
});

test('relay app request-offload: a text goes to the store coded over the line of its node, and is there what it was', async () => {
  const data = await makeTempDir();
  await using stack = new AsyncDisposableStack();
  stack.use(data);
  await writeFile(join(data.path, 'a.csv'), CSV);
  const router = stack.use(await startRouterProcess());
  const nodeLine = stack.use(await FaultyLine.to(Number(new URL(router.url).port)));
  nodeLine.bytesPerSecond = BYTES_PER_SECOND;
  stack.use(await startConnectorProcess(nodeLine.url, MAC, data.path));
  const file = join(work, 'offloaded.csv');
  const { code, stderr } = await runRelay([
    'app',
    'request-offload',
    MAC,
    'a.csv',
    '--router',
    router.url,
    '-o',
    file,
    '--verify',
  ]);
  expect([code, stderr]).toEqual([0, '']);
  expect(
    createHash('sha256')
      .update(await readFile(file))
      .digest('hex'),
  ).toBe(digest);
  expect(nodeLine.passed('data', 'up')).toBeLessThan(1.2 * zstdCompressSync(CSV).length + 20_000);
});
