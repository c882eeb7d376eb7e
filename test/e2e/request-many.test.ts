import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { randomBytes } from 'node:crypto';
import { mkdir, readdir, readFile, stat, symlink, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { grown } from '../support/grown.ts';
import { readMetric, untilMetric } from '../support/metrics.ts';
import { runRelay, startConnectorProcess, startRelay, startRouterProcess } from '../support/processes.ts';
import { makeTempDir } from '../support/router.ts';

const NODE = 'cc-28-aa-01-02-03';
const STREAMED = 'relay_dataset_bytes_total{pattern="stream"}';
const big = randomBytes(6_000_000);

interface Line {
  readonly mac: string;
  readonly dataset: string | null;
  readonly outcome: string;
  readonly code: string | null;
  readonly verified: boolean | null;
}

/** What a run of `relay app request` reported, by dataset. */
async function readReport(file: string): Promise<Line[]> {
  const text = await readFile(file, 'utf8');
  return text
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line) as Line)
    .toSorted((a, b) => `${a.mac}/${a.dataset}`.localeCompare(`${b.mac}/${b.dataset}`));
}

const outcomesOf = (lines: readonly Line[]): Record<string, string> =>
  Object.fromEntries(lines.map(({ dataset, outcome }) => [String(dataset), outcome]));

/** Makes files below a directory. */
async function fill(directory: string, files: Readonly<Record<string, string | Buffer>>): Promise<void> {
  for (const [name, content] of Object.entries(files)) {
    await mkdir(join(directory, name, '..'), { recursive: true });
    await writeFile(join(directory, name), content);
  }
}

describe('many datasets of one connector', () => {
  const resources = new AsyncDisposableStack();
  let data = '';
  let router = '';

  beforeAll(async () => {
    data = resources.use(await makeTempDir()).path;
    await fill(data, {
      'a.csv': 'aaaa',
      'dir/b.csv': 'bb',
      'link/c.csv': 'c',
      'file.csv': 'd',
      'run[7].txt': 'seven',
      'run7.txt': '7',
      'report (1).txt': 'one',
    });
    const role = resources.use(await startRouterProcess());
    router = role.url;
    resources.use(await startConnectorProcess(router, NODE, data));
  });
  afterAll(() => resources.disposeAsync());

  async function request(cwd: string, ...words: string[]) {
    const report = join(cwd, 'report');
    const args = ['app', 'request', NODE, ...words, '--router', router, '--retry', '0', '--report', report];
    const { code, stdout, stderr } = await runRelay(args, { cwd });
    return { code, stdout: String(stdout), stderr, outcomes: outcomesOf(await readReport(report)) };
  }

  test('are only told of in a dry run', async () => {
    await using place = await makeTempDir();
    const { code, stdout, stderr, outcomes } = await request(place.path, '{a,dir/*}*', '-o', 'out', '--dry-run');
    expect([code, stdout, outcomes]).toEqual([0, '', { 'a.csv': 'planned', 'dir/b.csv': 'planned' }]);
    expect(stderr).toContain('2 to fetch');
    expect(await readdir(place.path)).toEqual(['report']);
  });

  test('are fetched once, and again when they change in what only their ETag shows', async () => {
    await using place = await makeTempDir();
    const run = () => request(place.path, '{a,dir/*}*', '-o', 'out');
    expect(await run()).toMatchObject({ code: 0, outcomes: { 'a.csv': 'fetched', 'dir/b.csv': 'fetched' } });
    expect(await run()).toMatchObject({ code: 0, outcomes: { 'a.csv': 'present', 'dir/b.csv': 'present' } });
    const { atime, mtime } = await stat(join(data, 'a.csv'));
    await writeFile(join(data, 'a.csv'), 'AAAA');
    await utimes(join(data, 'a.csv'), atime, mtime);
    expect(await run()).toMatchObject({ code: 0, outcomes: { 'a.csv': 'fetched', 'dir/b.csv': 'present' } });
    expect(await readFile(join(place.path, 'out/a.csv'), 'utf8')).toBe('AAAA');
    expect((await readdir(join(place.path, 'out'))).toSorted()).toEqual(['.relay-index', 'a.csv', 'dir']);
  });

  test('are compared by SHA-256, and those that agree get their time', async () => {
    await using place = await makeTempDir();
    const same = await readFile(join(data, 'a.csv'), 'utf8');
    await fill(join(place.path, 'out'), { 'a.csv': same, 'dir/b.csv': 'xx' });
    const { code, outcomes } = await request(place.path, '{a,dir/*}*', '-o', 'out', '--checksum');
    expect([code, outcomes]).toEqual([0, { 'a.csv': 'present', 'dir/b.csv': 'fetched' }]);
    expect(await readFile(join(place.path, 'out/dir/b.csv'), 'utf8')).toBe('bb');
    const [here, there] = await Promise.all([stat(join(place.path, 'out/a.csv')), stat(join(data, 'a.csv'))]);
    expect(Math.abs(here.mtimeMs - there.mtimeMs)).toBeLessThanOrEqual(1);
    expect(await request(place.path, 'a*', '-o', 'out')).toMatchObject({ outcomes: { 'a.csv': 'present' } });
  });

  test('never go through a link in the directory', async () => {
    await using place = await makeTempDir();
    await fill(place.path, { 'elsewhere/mine': 'mine', 'elsewhere/index': '' });
    await mkdir(join(place.path, 'out'));
    await symlink('../elsewhere', join(place.path, 'out/link'));
    await symlink('../elsewhere/mine', join(place.path, 'out/file.csv'));
    await symlink('../elsewhere/index', join(place.path, 'out/.relay-index'));
    const { code, stderr, outcomes } = await request(place.path, '**/*.csv', '-o', 'out');
    expect([code, outcomes]).toEqual([
      11,
      { 'a.csv': 'fetched', 'dir/b.csv': 'fetched', 'file.csv': 'failed', 'link/c.csv': 'failed' },
    ]);
    expect(stderr).toMatch(/\.relay-index is a link/);
    expect((await readdir(join(place.path, 'elsewhere'))).toSorted()).toEqual(['index', 'mine']);
    expect(await readFile(join(place.path, 'elsewhere/mine'), 'utf8')).toBe('mine');
    expect(await readFile(join(place.path, 'elsewhere/index'), 'utf8')).toBe('');
  });

  test.each([
    ['report (1).txt', 'one', ''],
    ['run[7].txt', 'seven', 'there is a dataset'],
    ['run\\[7\\].txt', 'seven', ''],
  ])('are one where %j names it', async (name, content, said) => {
    await using place = await makeTempDir();
    const args = ['app', 'request', NODE, name, '--router', router, '-v', '-o', 'of'];
    const { code, stderr } = await runRelay(args, { cwd: place.path });
    expect([code, await readFile(join(place.path, 'of'), 'utf8')]).toEqual([0, content]);
    expect(stderr).toContain(said);
    if (said === '') expect(stderr).not.toContain('there is a dataset');
  });
});

test('a run that was interrupted is gone on with where it was, with what it had of one and none of the others', async () => {
  await using data = await makeTempDir();
  await using place = await makeTempDir();
  await fill(data.path, { 'a.bin': randomBytes(200_000), 'big.bin': big, 'c.bin': randomBytes(100_000) });
  await using router = await startRouterProcess(['--max-rate', '2MiB', '--store', 'none']);
  await using _connector = await startConnectorProcess(router.url, NODE, data.path);
  const out = join(place.path, 'out');
  await mkdir(out);
  const report = join(place.path, 'report');
  const words = ['app', 'request', NODE, '*.bin', '-o', out, '--parallel', '1', '--verify', '--report', report];
  const args = [...words, '--router', router.url];
  const first = startRelay(args, { cwd: place.path });
  await grown(out, '.big.bin.relay-part', 1_000_000);
  first.child.kill('SIGINT');
  expect(await first.result).toMatchObject({ code: 130 });
  expect(await readdir(out)).toEqual(expect.arrayContaining(['a.bin', '.big.bin.relay-part']));
  expect(await readdir(out)).not.toContain('big.bin');
  await untilMetric(router.url, 'relay_pending_exchanges', 0);
  const before = await readMetric(router.url, STREAMED);

  const { code } = await runRelay(args, { cwd: place.path });
  expect([code, outcomesOf(await readReport(report))]).toEqual([
    0,
    { 'a.bin': 'present', 'big.bin': 'fetched', 'c.bin': 'fetched' },
  ]);
  for (const name of ['a.bin', 'big.bin', 'c.bin']) {
    expect((await readFile(join(out, name))).equals(await readFile(join(data.path, name)))).toBe(true);
  }
  const fetched = (await readMetric(router.url, STREAMED)) - before;
  expect(fetched).toBeLessThanOrEqual(big.length - 1_000_000 + 100_000);
  expect((await readdir(out)).toSorted()).toEqual(['.relay-index', 'a.bin', 'big.bin', 'c.bin']);
});

test('a fleet of which one is killed while it sends, and comes back with another file, loses that one alone', async () => {
  await using lake = await makeTempDir();
  await using resources = new AsyncDisposableStack();
  const router = resources.use(await startRouterProcess(['--store', 'none', '--silence-timeout', '2s']));
  const macs = ['02-00-00-00-00-01', '02-00-00-00-00-02', '02-00-00-00-00-03', '02-00-00-00-00-04'];
  const [north = '', south = '', victim = '', other = ''] = macs;
  const places = new Map<string, string>();
  for (const mac of macs) {
    const { path } = resources.use(await makeTempDir());
    await fill(path, { 'a.csv': mac, ...(mac === victim && { 'big.bin': big }) });
    places.set(mac, path);
  }
  const connect = async (mac: string, name: string, ...more: string[]) =>
    resources.use(
      await startConnectorProcess(router.url, mac, places.get(mac) ?? '', [...more, ...(name ? ['--name', name] : [])]),
    );
  const oslo = ['--label', 'site=oslo'];
  await connect(north, 'north', ...oslo);
  await connect(south, 'south', ...oslo);
  await connect(other, 'other');
  const doomed = await connect(victim, 'victim', ...oslo, '--max-rate', '1MiB');

  const report = join(lake.path, 'report');
  const request = (selection: string) =>
    startRelay(
      [
        'app',
        'request',
        '--connectors',
        selection,
        '**',
        '-o',
        'lake/{name}/{path}',
        '--retry',
        '0',
        '--router',
      ].concat(router.url, '--report', report),
      { cwd: lake.path },
    );
  await mkdir(join(lake.path, 'lake/victim'), { recursive: true });
  const first = request('site=oslo');
  await grown(join(lake.path, 'lake/victim'), '.big.bin.relay-part', 500_000);
  await doomed.end('SIGKILL');
  const renewed = randomBytes(big.length);
  await writeFile(join(places.get(victim) ?? '', 'big.bin'), renewed);
  await connect(victim, 'victim', ...oslo);
  const broken = await first.result;
  expect(broken).toMatchObject({ code: 11, stderr: expect.stringContaining('1 of 4 failed') });
  expect((await readReport(report)).map(({ mac, dataset, outcome }) => [mac, dataset, outcome])).toEqual([
    [north, 'a.csv', 'fetched'],
    [south, 'a.csv', 'fetched'],
    [victim, 'a.csv', 'fetched'],
    [victim, 'big.bin', 'failed'],
  ]);
  expect((await readReport(report)).at(-1)).toMatchObject({ code: 'dataset_changed' });
  expect((await readdir(join(lake.path, 'lake'))).toSorted()).toEqual(['.relay-index', 'north', 'south', 'victim']);

  const list = join(lake.path, 'macs');
  await writeFile(list, [north, `${victim} # press 3`, south.toUpperCase()].join('\n'));
  expect(await request(list).result).toMatchObject({ code: 0, stderr: expect.stringContaining('3 there already') });
  expect(outcomesOf((await readReport(report)).filter(({ mac }) => mac === victim))).toEqual({
    'a.csv': 'present',
    'big.bin': 'fetched',
  });
  expect((await readFile(join(lake.path, 'lake/victim/big.bin'))).equals(renewed)).toBe(true);
});
