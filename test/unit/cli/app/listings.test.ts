import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { describe, expect, test } from '@jest/globals';
import { MAC, sendJson, sendProblem, serve } from '../../client/stub-server.ts';
import { runApp } from './command-line.ts';

const connector = {
  mac: MAC,
  state: 'online',
  last_seen: '2026-01-31T12:00:00Z',
  link: 'sse',
  version: '1.2.3',
  name: 'plant \u001b[31m',
  labels: { site: 'north' },
};

const serveNames = () =>
  serve(({ url }, response) =>
    url.includes('cursor')
      ? sendJson(response, 200, { datasets: [{ name: 'b/c.csv', size: 12, mtime: '2026-01-31T12:00:00.5Z' }] })
      : sendJson(response, 200, {
          datasets: [
            { name: 'a.csv', size: 1 },
            { name: '.b.txt', size: 2 },
          ],
          next: 'n',
        }),
  );

const serveHead = () =>
  serve((_, response) => {
    response.writeHead(200, {
      'Content-Length': 123_456,
      'Content-Type': 'text/csv',
      'Last-Modified': 'Sat, 31 Jan 2026 12:00:00 GMT',
      ETag: '"v"',
    });
    response.end();
  });

describe('listings', () => {
  test('connectors are a table, with nothing in it that a terminal would obey, or JSON', async () => {
    await using relay = await serve((_, response) => sendJson(response, 200, { connectors: [connector] }));
    const { stdout } = await runApp(['connectors'], { router: relay.url });
    expect(String(stdout).split('\n')).toEqual([
      expect.stringMatching(/^MAC +STATE +LINK +VERSION +LAST SEEN +NAME +LABELS$/),
      expect.stringMatching(/^cc-28-aa-01-02-03 +online +sse +1\.2\.3 +now +plant \\x1b\[31m +site=north$/),
      '',
    ]);
    const json = await runApp(['connectors', '--json'], { router: relay.url });
    expect(JSON.parse(String(json.stdout))).toEqual({ connectors: [connector] });
  });

  test('connectors by label and state', async () => {
    await using relay = await serve((_, response) => sendJson(response, 200, { connectors: [connector] }));
    const list = async (...words: string[]) => runApp(['connectors', ...words], { router: relay.url });
    expect(String((await list('--label', 'site=north', '--state', 'online')).stdout)).toContain(MAC);
    expect(relay.seen.at(-1)?.url).toContain('label=site%3Dnorth&state=online');
    const none = await list('--label', 'site=north', '--label', 'line=1');
    expect([none.code, String(none.stdout), none.stderr]).toEqual([0, '', 'relay: no connector is like that\n']);
    expect(await list('--label', 'north')).toMatchObject({ code: 2, stderr: expect.stringContaining('KEY=VALUE') });
    expect(await list('--state', 'away')).toMatchObject({ code: 2, stderr: expect.stringContaining('online') });
  });

  test('no connectors is a note', async () => {
    await using relay = await serve((_, response) => sendJson(response, 200, { connectors: [] }));
    const { code, stdout, stderr } = await runApp(['connectors'], { router: relay.url });
    expect({ code, stdout: String(stdout), stderr }).toEqual({
      code: 0,
      stdout: '',
      stderr: expect.stringContaining('no connector'),
    });
  });

  test.each([
    [[], 'a.csv\n.b.txt\nb/c.csv\n'],
    [['*.csv'], 'a.csv\n'],
    [['**/*.csv'], 'a.csv\nb/c.csv\n'],
    [['*.txt'], '.b.txt\n'],
    [['*'], 'a.csv\n.b.txt\n'],
    [['-l', 'b/*'], '             12  2026-01-31T12:00:00Z  b/c.csv\n'],
    [['-l', 'a*'], `              1  -${' '.repeat(21)}a.csv\n`],
  ])('datasets with %j', async (words, expected) => {
    await using relay = await serveNames();
    const { code, stdout } = await runApp(['datasets', MAC, ...words], { router: relay.url });
    expect({ code, stdout: String(stdout) }).toEqual({ code: 0, stdout: expected });
  });

  test('datasets as JSON, all pages in one document, also when there are none', async () => {
    await using relay = await serveNames();
    const all = await runApp(['datasets', MAC, '--json'], { router: relay.url });
    expect((JSON.parse(String(all.stdout)) as { datasets: object[] }).datasets).toHaveLength(3);
    const none = await runApp(['datasets', MAC, 'zzz', '--json'], { router: relay.url });
    expect(JSON.parse(String(none.stdout))).toEqual({ datasets: [] });
  });

  test('names are escaped on a terminal only', async () => {
    await using relay = await serve((_, response) =>
      sendJson(response, 200, { datasets: [{ name: '\u001b]0;x', size: 1 }] }),
    );
    const plain = await runApp(['datasets', MAC], { router: relay.url });
    expect(String(plain.stdout)).toBe('\u001b]0;x\n');
    let shown = '';
    const stdout = Object.assign(
      new Writable({
        write(piece: Buffer, _encoding, done) {
          shown += String(piece);
          done();
        },
      }),
      { isTTY: true },
    );
    await runApp(['datasets', MAC], { router: relay.url, stdout });
    expect(shown).toBe('\\x1b]0;x\n');
  });

  test('a name that is not there comes with the nearest', async () => {
    await using relay = await serve(({ method }, response) =>
      method === 'POST'
        ? sendProblem(response, 404, 'dataset_not_found')
        : sendJson(response, 200, { datasets: [{ name: 'sales.csv', size: 1 }] }),
    );
    const { code, stderr } = await runApp(['request-stream', MAC, 'sale.csv'], { router: relay.url });
    expect({ code, stderr }).toEqual({ code: 3, stderr: expect.stringContaining('Is sales.csv meant?') });
  });
});

describe('stat', () => {
  test('shows what is known', async () => {
    await using relay = await serveHead();
    const { stdout } = await runApp(['stat', MAC, 'a.csv'], { router: relay.url });
    expect(String(stdout)).toBe(
      'name: a.csv\nsize: 123456 (120.6 KiB)\nmodified: 2026-01-31T12:00:00Z\ntype: text/csv\netag: "v"\n',
    );
  });

  test('as JSON', async () => {
    await using relay = await serveHead();
    const { stdout } = await runApp(['stat', MAC, 'a.csv', '--json'], { router: relay.url });
    expect(JSON.parse(String(stdout))).toEqual({
      name: 'a.csv',
      size: 123_456,
      mtime: '2026-01-31T12:00:00Z',
      etag: '"v"',
      content_type: 'text/csv',
    });
  });
});

describe('the command line', () => {
  test('says what is missing', async () => {
    expect(await runApp([], { router: 'http://127.0.0.1:1' })).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('a command of app is missing'),
    });
  });

  test('shows the arguments of each command in its help', async () => {
    const { code, stdout } = await runApp(['--help'], { router: 'http://127.0.0.1:1' });
    expect(code).toBe(0);
    expect(String(stdout)).toContain('request-stream <mac> <dataset>');
    expect(String(stdout)).toContain('datasets <mac> [glob]');
  });

  test('refuses a certificate file that is none', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'relay-app-'));
    await writeFile(join(directory, 'ca.pem'), 'nothing');
    const words = ['connectors', '--ca', join(directory, 'ca.pem')];
    expect(await runApp(words, { router: 'https://127.0.0.1:1' })).toMatchObject({ code: 2 });
    await rm(directory, { recursive: true });
  });

  test('exits 8 where no router is', async () => {
    const words = ['connectors', '--retry', '0'];
    expect(await runApp(words, { router: 'http://127.0.0.1:1' })).toMatchObject({ code: 8 });
  });
});
