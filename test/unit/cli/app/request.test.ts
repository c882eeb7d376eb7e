import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
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
  serve(({ method, url, body }, response) => {
    if (method === 'HEAD') return sendProblem(response, 404, 'dataset_not_found');
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

describe('request of a name that looks like a pattern', () => {
  /** A router whose one connector has these, each with its own name as content; `stats` says whether it can tell of one. */
  const serveNames = (names: readonly string[], stats = true) =>
    serve(({ method, url, body }, response) => {
      const path = decodeURIComponent(/^\/connectors\/[^/]+\/datasets\/([^?]*)/.exec(url)?.[1] ?? '');
      if (method === 'HEAD') {
        response.writeHead(names.includes(path) || !stats ? 200 : 404, stats ? { 'Content-Length': path.length } : {});
        return void response.end();
      }
      if (url.startsWith('/connectors/')) {
        return sendJson(response, 200, { datasets: names.map((name) => ({ name, size: name.length, mtime: MTIME })) });
      }
      const { dataset } = JSON.parse(body) as { dataset: string };
      if (!names.includes(dataset)) return sendProblem(response, 404, 'dataset_not_found');
      return void response
        .writeHead(200, { 'Content-Length': dataset.length, 'Repr-Digest': digestOf(dataset) })
        .end(dataset);
    });

  test.each(['report (1).csv', 'a+(b).csv', '!a.csv', '{a}.csv', 'what@(x)'])('takes %j for one', async (name) => {
    await using relay = await serveNames([name]);
    const file = join(directory, 'of');
    expect(await runApp(['request', MAC, name, '-o', file], { router: relay.url })).toMatchObject({ code: 0 });
    expect(await readFile(file, 'utf8')).toBe(name);
    expect(relay.seen.map(({ method }) => method)).toEqual(['POST']);
  });

  test('takes an escaped pattern for the one name that it means', async () => {
    await using relay = await serveNames(['run[7].csv', 'run7.csv']);
    const { code, stdout } = await runApp(['request', MAC, 'run\\[7\\].csv'], { router: relay.url });
    expect([code, String(stdout)]).toEqual([0, 'run[7].csv']);
    expect(relay.seen.map(({ method }) => method)).toEqual(['POST']);
  });

  test.each(['run[7].csv', 'what?.csv', '{a,b}', '*'])(
    'takes %j for one where there is one, and says so',
    async (name) => {
      await using relay = await serveNames([name, 'run7.csv']);
      const file = join(directory, 'of');
      const { code, stderr } = await runApp(['request', MAC, name, '-o', file, '-v'], { router: relay.url });
      expect([code, await readFile(file, 'utf8')]).toEqual([0, name]);
      expect(stderr).toContain(`there is a dataset ${JSON.stringify(name)}`);
      const piped = await runApp(['request', MAC, name], { router: relay.url });
      expect(String(piped.stdout)).toBe(name);
    },
  );

  test('takes it for a pattern where a directory or what is for many says so, or nobody can tell of one', async () => {
    await using relay = await serveNames(['run[7].csv', 'run7.csv']);
    const ran = async (...words: string[]): Promise<string[]> => {
      expect(await runApp(['request', MAC, 'run[7].csv', ...words], { router: relay.url })).toMatchObject({ code: 0 });
      const methods = relay.seen.map(({ method }) => method).toSorted();
      relay.seen.length = 0;
      return methods;
    };
    expect(await ran('-o', join(directory, 'new/'))).toEqual(['GET', 'POST', 'POST']);
    expect((await readdir(join(directory, 'new'))).toSorted()).toEqual(['run7.csv', 'run[7].csv']);
    expect(await ran('-o', join(directory, 'new'))).toEqual(['GET']);
    expect(await ran('-o', join(directory, 'other'), '--dry-run')).toEqual(['GET']);
    await using plain = await serveNames(['run[7].csv', 'run7.csv'], false);
    const words = ['request', MAC, 'run[7].csv', '-o', join(directory, 'plain')];
    expect(await runApp(words, { router: plain.url })).toMatchObject({ code: 0 });
    expect((await readdir(join(directory, 'plain'))).toSorted()).toEqual(['run7.csv', 'run[7].csv']);
  });

  test('asks for no name that no dataset can have', async () => {
    await using relay = await serveNames(['a/b']);
    await runApp(['request', MAC, '**//x', '-o', join(directory, 'of')], { router: relay.url });
    expect(relay.seen.map(({ method }) => method)).toEqual(['GET']);
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
    expect(relay.seen.find(({ method }) => method === 'GET')?.url).toContain('glob=*.csv');
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
