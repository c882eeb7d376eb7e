import { expect, test } from '@jest/globals';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { runRelay, startConnectorProcess, startRouterProcess } from '../support/processes.ts';
import { makeTempDir } from '../support/router.ts';

const MAC = 'cc-28-aa-01-02-03';

interface Result {
  readonly pattern: string;
  readonly size: number;
  readonly memory_bytes: number | null;
}

test('relay bench measures all patterns on this machine, prints a table and draws a picture', async () => {
  await using directory = await makeTempDir();
  const svg = join(directory.path, 'bench.svg');
  const { code, stdout, stderr } = await runRelay(['bench', '--runs', '1', '--svg', svg], { cwd: directory.path });
  expect([code, stderr.split('\n').filter((line) => !line.startsWith('relay: '))]).toEqual([0, ['']]);
  const rows = stdout.toString().trimEnd().split('\n');
  expect(rows).toHaveLength(1 + 5 * 3);
  expect(rows[0]).toMatch(/^size +pattern +first byte +rate +router memory$/);
  expect(rows.at(-1)).toMatch(/^128\.0 MiB +C offloading +[\d.]+ ms +[\d.]+ MB\/s +\+ [\d.]+ [KM]?i?B$/);
  const picture = await readFile(svg, 'utf8');
  expect(picture).toMatch(/^<svg xmlns/);
  expect(picture.match(/<circle/g)).toHaveLength(2 * 5 * 3);
}, 180_000);

test('relay bench measures a dataset of a router and a node that run, and gives JSON', async () => {
  await using data = await makeTempDir();
  await writeFile(join(data.path, 'a.bin'), Buffer.alloc(300_000, 7));
  await using router = await startRouterProcess(['--buffer-max', '200KB']);
  await using _connector = await startConnectorProcess(router.url, MAC, data.path);
  const { code, stdout, stderr } = await runRelay([
    'bench',
    MAC,
    'a.bin',
    '--router',
    router.url,
    '--runs',
    '2',
    '--json',
  ]);
  expect(code).toBe(0);
  // Above the router's limit for pattern A.
  expect(stderr).toMatch(/pattern A is left out: .*200000/);
  const report = JSON.parse(stdout.toString()) as { router: string; results: Result[] };
  expect(report.router).toBe(`${router.url}/`);
  expect(report.results).toEqual(
    ['B', 'C'].map((pattern) => ({
      pattern,
      size: 300_000,
      runs: 2,
      first_byte_ms: expect.any(Number),
      bytes_per_second: expect.any(Number),
      memory_bytes: expect.any(Number),
    })),
  );
});

test.each([
  [['bench', MAC], /a connector and a dataset, or neither/],
  [['bench', '--runs', '0'], /--runs/],
])('relay %j is a usage error', async (args, message) => {
  const { code, stderr } = await runRelay(args);
  expect([code, stderr]).toEqual([2, expect.stringMatching(message)]);
});
