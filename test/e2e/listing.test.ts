import { once } from 'node:events';
import { mkdir, writeFile } from 'node:fs/promises';
import http, { type IncomingMessage } from 'node:http';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { createToken, readMemory, runRelay, startConnectorProcess, startRouterProcess } from '../support/processes.ts';
import { makeTempDir } from '../support/router.ts';

const NODE = 'cc-28-aa-01-02-03';
const MIB = 1024 * 1024;
const COUNT = 100_000;
const SECRET = 'one secret of more than thirty-two characters';

async function fill(directory: string, names: readonly string[]): Promise<void> {
  await mkdir(directory, { recursive: true });
  for (let at = 0; at < names.length; at += 500)
    await Promise.all(names.slice(at, at + 500).map((name) => writeFile(join(directory, name), 'x')));
}

/** Reads a page of HTML, of which only what is needed stays in memory: how many links it had, and its end. */
async function readPage(url: string): Promise<{ links: number; end: string }> {
  const [response] = (await once(http.get(url), 'response')) as [IncomingMessage];
  let [links, rest] = [0, ''];
  for await (const piece of response.setEncoding('utf8')) {
    const lines = `${rest}${piece}`.split('\n');
    rest = lines.pop() ?? '';
    links += lines.filter((line) => line.includes('<a href="')).length;
    if (rest === '' && lines.at(-1) === '</html>') return { links, end: lines.slice(-4).join('\n') };
  }
  throw new Error(`the page has no end: ${rest}`);
}

test('a directory of 100,000 files is listed in little memory, and its neighbour at once', async () => {
  await using data = await makeTempDir();
  const names = Array.from(
    { length: COUNT },
    (_, index) => `measurement-of-the-day-${String(index).padStart(6, '0')}.csv`,
  );
  await fill(join(data.path, 'large'), names);
  await fill(join(data.path, 'medium'), names.slice(0, COUNT / 5));
  await fill(join(data.path, 'small'), names.slice(0, 3));
  await using router = await startRouterProcess();
  await using connector = await startConnectorProcess(router.url, NODE, data.path);
  const page = `${router.url}/connectors/${NODE}/datasets`;
  // Heaps grow for some hundred pages, as V8 has it, and then no more, however long a directory is.
  for (let count = 0; count < 6; count++) await readPage(`${page}/medium/`);
  const before = await Promise.all([readMemory(router.pid), readMemory(connector.pid)]);

  const listing = await readPage(`${page}/large/`);
  expect(listing.links).toBe(COUNT + 1);
  expect(listing.end).toContain('<p>100000 datasets</p>');
  const after = await Promise.all([readMemory(router.pid), readMemory(connector.pid)]);
  // The whole listing would be some 20 MiB as a page, and far more as objects.
  for (const [index, { peak }] of after.entries()) expect(peak - (before[index]?.peak ?? 0)).toBeLessThan(48 * MIB);

  const startedAt = performance.now();
  for (const query of [
    '?prefix=small/',
    '?glob=small/*',
    '?prefix=small/&delimiter=/',
    '?glob=*/*-000001.csv&prefix=small/',
  ]) {
    const { datasets } = (await (await fetch(page + query)).json()) as { datasets: unknown[] };
    expect(datasets.length).toBe(query.includes('000001') ? 1 : 3);
  }
  const narrowMs = performance.now() - startedAt;
  const largeAt = performance.now();
  await (await fetch(`${page}?glob=large/*-099999.csv`)).json();
  // Four that read three names are sooner there than one that reads a hundred thousand.
  expect(narrowMs).toBeLessThan(performance.now() - largeAt);

  const { code, stdout } = await runRelay(['app', 'datasets', '--router', router.url, NODE, 'large/*-0000?0.csv']);
  expect([code, stdout.toString().split('\n').length - 1]).toEqual([0, 10]);
}, 240_000);

describe('relay app', () => {
  test('lists what begins with a prefix and matches a glob', async () => {
    await using data = await makeTempDir();
    await fill(join(data.path, '2026/a'), ['1.csv', '2.txt']);
    await fill(data.path, ['3.csv']);
    await using router = await startRouterProcess();
    await using _connector = await startConnectorProcess(router.url, NODE, data.path);
    const list = async (...args: string[]): Promise<string> =>
      (await runRelay(['app', 'datasets', '--router', router.url, NODE, ...args])).stdout.toString();
    expect(await list('**/*.csv')).toBe('2026/a/1.csv\n3.csv\n');
    expect(await list('--prefix', '2026/')).toBe('2026/a/1.csv\n2026/a/2.txt\n');
    expect(await list('--prefix', '2026/', '**/*.csv')).toBe('2026/a/1.csv\n');
    const none = await runRelay(['app', 'datasets', '--router', router.url, NODE, '--prefix', 'none/']);
    expect([none.code, none.stderr]).toEqual([0, expect.stringContaining('no dataset matches none/')]);
    const bad = await runRelay(['app', 'datasets', '--router', router.url, NODE, '{a,b}'.repeat(7)]);
    expect([bad.code, bad.stderr]).toEqual([2, expect.stringContaining('alternatives')]);
  });

  test('prints a URL by which anybody gets the dataset, until it expires', async () => {
    await using data = await makeTempDir();
    await fill(data.path, ['a b.csv']);
    const env = { RELAY_SECRET: SECRET };
    const make = (...args: string[]): Promise<string> => createToken(['--mac', NODE, ...args], env);
    const tokenFile = join(data.path, '.token');
    await writeFile(tokenFile, await make('--role', 'connector'), { mode: 0o600 });
    await using router = await startRouterProcess([], env);
    await using _connector = await startConnectorProcess(router.url, NODE, data.path, ['--token-file', tokenFile]);
    const app = { env: { RELAY_TOKEN: await make('--role', 'app', '--dataset', '*.csv') } };
    const ask = (...args: string[]) => runRelay(['app', 'url', '--router', router.url, NODE, ...args], app);
    const { code, stdout, stderr } = await ask('a b.csv', '--expires', '90m');
    expect([code, stderr]).toEqual([0, expect.stringMatching(/good for whoever holds it, until \d{4}-/)]);
    const url = new URL(stdout.toString().trimEnd());
    const seconds = Number(url.searchParams.get('expires')) - Date.now() / 1000;
    expect(Math.abs(seconds - 5400)).toBeLessThan(60);
    const answer = await fetch(url);
    expect([answer.status, await answer.text()]).toEqual([200, 'x']);
    url.searchParams.set('expires', '1');
    expect((await fetch(url)).status).toBe(403);

    const json = JSON.parse((await ask('a b.csv', '--json')).stdout.toString()) as object;
    expect(json).toEqual({ url: expect.stringContaining('/a%20b.csv?'), expires_at: expect.any(String) });
    const uncovered = await ask('a.txt');
    expect([uncovered.code, uncovered.stderr]).toEqual([6, expect.stringContaining('does not cover')]);
    for (const time of ['8d', 'soon', '0']) expect((await ask('a b.csv', '--expires', time)).code).toBe(2);
    expect(JSON.stringify(router.log)).not.toContain(url.searchParams.get('signature'));
  });

  test('says of a router without a secret that its URLs have no end', async () => {
    await using router = await startRouterProcess();
    const { code, stdout, stderr } = await runRelay(['app', 'url', '--router', router.url, NODE, 'a.csv']);
    expect([code, stdout.toString()]).toEqual([0, `${router.url}/connectors/${NODE}/datasets/a.csv\n`]);
    expect(stderr).toContain('does not expire');
  });
});
