import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { digestOf, MAC, REQUEST_ID, sendJson, sendProblem, serve } from '../../client/stub-server.ts';
import { runApp } from './command-line.ts';

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'relay-request-'));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

const MTIME = '2026-01-31T12:00:00Z';
const CONNECTOR = {
  mac: MAC,
  state: 'online',
  last_seen: MTIME,
  link: 'sse',
  version: null,
  name: 'Press 3',
  labels: {},
};

/** A router whose one connector offers `a.csv`, `b.csv` that is gone when asked for, and one with a bad name. */
const serveThree = () =>
  serve(({ url, body }, response) => {
    if (/^\/connectors(\?|$)/.test(url)) return sendJson(response, 200, { connectors: [CONNECTOR] });
    if (url.startsWith('/connectors/')) {
      const datasets = ['a.csv', 'b.csv', 'c\u001b[2J.csv'].map((name) => ({ name, size: 2, mtime: MTIME }));
      return sendJson(response, 200, { datasets });
    }
    const { dataset } = JSON.parse(body) as { dataset: string };
    if (dataset !== 'a.csv') return sendProblem(response, 404, 'dataset_not_found');
    response.writeHead(200, { 'Content-Length': 2, 'Repr-Digest': digestOf('aa') }).end('aa');
  });

describe('request of one dataset', () => {
  test('streams it to standard output, and says why when asked', async () => {
    await using relay = await serveThree();
    const { code, stdout, stderr } = await runApp(['request', MAC, 'a.csv', '-v'], { router: relay.url });
    expect([code, String(stdout), stderr]).toEqual([
      0,
      'aa',
      expect.stringMatching(/^relay: request-stream: its size/),
    ]);
  });

  test('saves it, and refuses what is for many', async () => {
    await using relay = await serveThree();
    const file = join(directory, 'a');
    expect(await runApp(['request', MAC, 'a.csv', '-o', file], { router: relay.url })).toMatchObject({ code: 0 });
    expect(await readFile(file, 'utf8')).toBe('aa');
    expect(await runApp(['request', MAC, 'a.csv', '--dry-run'], { router: relay.url })).toMatchObject({ code: 2 });
    expect(await runApp(['request', MAC, 'b.csv'], { router: relay.url })).toMatchObject({ code: 3 });
  });
});

describe('request of many', () => {
  test('exits 11 where some failed, reports each, and shows names safely', async () => {
    await using relay = await serveThree();
    const words = ['request', MAC, '*.csv', '-o', join(directory, 'out'), '--report', join(directory, 'r')];
    const { code, stdout, stderr } = await runApp(words, { router: relay.url });
    expect([code, String(stdout)]).toEqual([11, '']);
    expect(stderr).toContain('1 fetched');
    expect(stderr).toContain('2 of 3 failed');
    expect(stderr).not.toContain('\u001b[2J');
    expect(relay.seen[0]?.url).toContain('glob=*.csv');
    const lines = (await readFile(join(directory, 'r'), 'utf8'))
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as object);
    expect(lines).toHaveLength(3);
    expect(lines.find((line) => 'outcome' in line && line.outcome === 'fetched')).toMatchObject({
      mac: MAC,
      dataset: 'a.csv',
      code: null,
      size: 2,
      sha256: '961b6dd3ede3cb8ecbaacbd68de040cd78eb2ed5889130cceb4c49268ea4d506',
      pattern: 'stream',
      attempts: 1,
      request_id: REQUEST_ID,
    });
  });

  test('of one connector that cannot be listed fails as that does, and of nothing that matches with 3', async () => {
    await using away = await serve((_, response) =>
      sendProblem(response, 503, 'connector_offline', { last_seen: MTIME }),
    );
    const words = ['request', MAC, '**', '-o', join(directory, 'out')];
    expect(await runApp(words, { router: away.url })).toMatchObject({ code: 4 });
    await using relay = await serveThree();
    const none = ['request', MAC, '*.txt', '-o', join(directory, 'out')];
    expect(await runApp(none, { router: relay.url })).toMatchObject({
      code: 3,
      stderr: expect.stringContaining('*.txt'),
    });
  });

  test('of many connectors goes by a template, a label or a file of MAC addresses', async () => {
    await using relay = await serveThree();
    const run = (selection: string, ...words: string[]) =>
      runApp(['request', '--connectors', selection, 'a.*', '-o', join(directory, 'lake/{name}/{path}'), ...words], {
        router: relay.url,
      });
    expect(await run('all')).toMatchObject({ code: 0, stderr: expect.stringContaining('1 fetched') });
    expect(await readFile(join(directory, 'lake/Press 3/a.csv'), 'utf8')).toBe('aa');
    expect(await run('site=oslo')).toMatchObject({ code: 3, stderr: expect.stringContaining('site=oslo') });
    const list = join(directory, 'macs');
    await writeFile(list, `# ours\n${MAC.toUpperCase()}\n\n02:00:00:00:00:01 # gone\n`);
    const { code, stderr } = await run(list, '--dry-run');
    expect([code, stderr]).toEqual([11, expect.stringContaining('02-00-00-00-00-01: the router never saw')]);
    await writeFile(list, 'nonsense\n');
    expect(await run(list)).toMatchObject({ code: 2, stderr: expect.stringContaining('line 1') });
  });

  test.each([
    [[MAC, '*.csv'], '-o DIR'],
    [['--connectors', 'all', '*.csv', '-o', '/tmp/x'], '{mac} or {name}'],
    [['--connectors', 'all', MAC, '*.csv', '-o', '/tmp/{mac}'], 'takes the place'],
    [['--connectors', 'all'], '<dataset> missing'],
  ])('%j is a mistake', async (words, said) => {
    await using relay = await serveThree();
    expect(await runApp(['request', ...words], { router: relay.url })).toMatchObject({
      code: 2,
      stderr: expect.stringContaining(said),
    });
  });
});
