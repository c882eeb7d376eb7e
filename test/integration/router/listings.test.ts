import { once } from 'node:events';
import { mkdir, writeFile } from 'node:fs/promises';
import net from 'node:net';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { Connector } from '../../../src/connector/connector.ts';
import { silentLogger } from '../../../src/observability/logger.ts';
import type { Mac } from '../../../src/protocol/mac.ts';
import { signToken } from '../../../src/router/access/token.ts';
import { RelayClient } from '../../../src/index.ts';
import { type AppAnswer, call } from '../../support/plain-app.ts';
import { MAC, PlainConnector } from '../../support/plain-connector.ts';
import { makeTempDir, startRouter } from '../../support/router.ts';

const SECRETS = ['a secret of more than thirty-two characters'];
const BROWSER = 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8';
const FILES = [
  'a.csv',
  'b/1.csv',
  'b/2.txt',
  'b/c/1.csv',
  'd e/#1?.csv',
  'd e/<i>"x"/1.csv',
  'reports/2026/1.csv',
  'reports/2026/2.csv',
  'reports/x.csv',
  'z.csv',
];

interface Seen {
  readonly datasets: string[];
  readonly prefixes?: string[];
  readonly next?: string;
}

const token = (...datasets: string[]): Promise<string> =>
  signToken({ role: 'app', macs: [MAC as Mac], datasets }, SECRETS[0] as string);
const bearer = (text: string): Record<string, string> => ({ Authorization: `Bearer ${text}` });

/** A connector that gives pages of `FILES`, as one does that filters nothing. */
async function serveNames(url: string, authorization: string): Promise<AsyncDisposable & { asked: object[] }> {
  const connector = await PlainConnector.connect(url, { capabilities: 'list', token: authorization });
  const asked: object[] = [];
  void (async () => {
    for (;;) {
      const { request_id, limit, cursor = '', ...others } = await connector.next();
      asked.push({ ...others, limit, cursor });
      const after = FILES.filter((name) => name > String(cursor));
      const datasets = after.slice(0, Number(limit)).map((name) => ({ name, size: 1 }));
      const next = after.length > datasets.length ? { next: datasets.at(-1)?.name } : {};
      await connector.post('/datasets/result', { request_id, datasets, ...next });
    }
  })();
  return { asked, [Symbol.asyncDispose]: () => connector[Symbol.asyncDispose]() };
}

async function startOwn(url: string, authorization: string): Promise<AsyncDisposable> {
  const resources = new AsyncDisposableStack();
  const { path } = resources.use(await makeTempDir());
  for (const name of FILES) {
    await mkdir(dirname(join(path, name)), { recursive: true });
    await writeFile(join(path, name), '1');
  }
  await mkdir(join(path, 'empty'));
  const connector = new Connector({
    routerUrl: new URL(url),
    mac: MAC as Mac,
    name: 'Press 3',
    dataDir: path,
    token: () => authorization,
    version: '0.0.0-test',
    logger: silentLogger(),
  });
  void connector.run();
  resources.defer(() => connector.close());
  await once(connector, 'online');
  return resources;
}

const QUERIES: [string, string[], Seen][] = [
  ['', ['**'], { datasets: FILES }],
  ['prefix=b/', ['**'], { datasets: ['b/1.csv', 'b/2.txt', 'b/c/1.csv'] }],
  ['prefix=reports/2', ['**'], { datasets: ['reports/2026/1.csv', 'reports/2026/2.csv'] }],
  ['glob=*.csv', ['**'], { datasets: ['a.csv', 'z.csv'] }],
  ['glob=**/1.csv', ['**'], { datasets: ['b/1.csv', 'b/c/1.csv', 'd e/<i>"x"/1.csv', 'reports/2026/1.csv'] }],
  ['prefix=b/&glob=**/*.csv', ['**'], { datasets: ['b/1.csv', 'b/c/1.csv'] }],
  ['prefix=b/&glob=c/*', ['**'], { datasets: [] }],
  ['delimiter=/', ['**'], { datasets: ['a.csv', 'z.csv'], prefixes: ['b/', 'd e/', 'reports/'] }],
  ['delimiter=/&prefix=b/', ['**'], { datasets: ['b/1.csv', 'b/2.txt'], prefixes: ['b/c/'] }],
  ['delimiter=/&prefix=rep', ['**'], { datasets: [], prefixes: ['reports/'] }],
  ['delimiter=/&glob=**/2*', ['**'], { datasets: [], prefixes: ['b/', 'reports/'] }],
  ['delimiter=/&glob=reports/2026/*', ['**'], { datasets: [], prefixes: ['reports/'] }],
  ['delimiter=/&cursor=b/', ['**'], { datasets: ['z.csv'], prefixes: ['d e/', 'reports/'] }],
  ['delimiter=/&limit=2', ['**'], { datasets: ['a.csv'], prefixes: ['b/'], next: 'b/' }],
  ['prefix=../', ['**'], { datasets: [] }],
  ['prefix=', ['reports/**'], { datasets: ['reports/2026/1.csv', 'reports/2026/2.csv', 'reports/x.csv'] }],
  ['delimiter=/', ['reports/**'], { datasets: [], prefixes: ['reports/'] }],
  ['delimiter=/&prefix=reports/', ['reports/**'], { datasets: ['reports/x.csv'], prefixes: ['reports/2026/'] }],
  ['delimiter=/&prefix=reports/', ['reports/*'], { datasets: ['reports/x.csv'], prefixes: [] }],
  ['delimiter=/', ['b/c/1.csv', 'z.csv'], { datasets: ['z.csv'], prefixes: ['b/'] }],
  ['delimiter=/&prefix=b/', ['reports/**'], { datasets: [], prefixes: [] }],
  ['glob=**/1.csv', ['b/*', 'a.csv'], { datasets: ['b/1.csv'] }],
];

describe.each(['filters by itself', 'filters nothing'])('what a connector offers that %s', (kind) => {
  const resources = new AsyncDisposableStack();
  let url: string;
  let asked: object[] | undefined;
  beforeAll(async () => {
    ({ url } = resources.use(await startRouter({ secrets: () => SECRETS })));
    const authorization = await signToken({ role: 'connector', macs: [MAC as Mac] }, SECRETS[0] as string);
    if (kind === 'filters nothing') ({ asked } = resources.use(await serveNames(url, authorization)));
    else resources.use(await startOwn(url, authorization));
  });
  afterAll(() => resources.disposeAsync());

  const ask = async (query: string, globs = ['**'], headers = {}): Promise<AppAnswer> =>
    call(url, 'GET', `/connectors/${MAC}/datasets${query}`, { ...bearer(await token(...globs)), ...headers });
  const read = (answer: AppAnswer): Seen => {
    const body = answer.json() as { datasets: { name: string }[]; prefixes?: string[]; next?: string };
    return { ...body, datasets: body.datasets.map(({ name }) => name) };
  };

  test.each(QUERIES)('is listed by %j for who may read %j', async (query, globs, expected) => {
    expect(read(await ask(`?${query}`, globs))).toEqual(expected);
  });

  test.each(QUERIES)('is the same page by page, by %j for who may read %j', async (query, globs, expected) => {
    if (query.includes('limit')) return;
    const found: { datasets: string[]; prefixes: string[] } = { datasets: [], prefixes: [] };
    let path = `?${query}&limit=1`;
    for (let pages = 0; ; pages++) {
      const answer = await ask(path, globs);
      const { datasets, prefixes = [], next } = read(answer);
      expect(datasets.length + prefixes.length).toBeLessThanOrEqual(1);
      found.datasets.push(...datasets);
      found.prefixes.push(...prefixes);
      if (next === undefined) break;
      const [, link = ''] = /^<datasets(\?[^>]*)>; rel="next"$/.exec(String(answer.headers['link'])) ?? [];
      expect(new URLSearchParams(link).get('cursor')).toBe(next);
      path = link;
      expect(pages).toBeLessThan(20);
    }
    expect(found).toEqual({ prefixes: [], ...expected });
  });

  test('is the same by the library', async () => {
    const client = new RelayClient({ baseUrl: url, token: await token('**') });
    const found: string[] = [];
    for await (const entry of client.datasets(MAC, { prefix: 'b/', delimiter: '/' }))
      found.push('prefix' in entry ? entry.prefix : entry.name);
    expect(found).toEqual(['b/1.csv', 'b/2.txt', 'b/c/']);
  });

  test.each([
    'limit=0',
    'delimiter=,',
    `glob=${'{a,b}'.repeat(7)}`,
    `glob=${'a'.repeat(1025)}`,
    `prefix=${'a'.repeat(4096)}`,
  ])('is refused by %j', async (query) => {
    const answer = await ask(`?${query}`);
    expect([answer.status, answer.json()]).toEqual([400, expect.objectContaining({ code: 'invalid_request' })]);
  });

  test('is a page for browsers, to which they are led, and JSON for all others', async () => {
    const led = await ask('', ['**'], { Accept: BROWSER });
    expect([led.status, led.headers['location'], led.headers['vary']]).toEqual([308, 'datasets/', 'Accept']);
    for (const accept of ['*/*', 'application/json', 'application/json, text/html;q=0.5']) {
      const { headers } = await ask('', ['**'], { Accept: accept });
      expect(headers['content-type']).toBe('application/json');
    }
    // Somebody wants to see what programs get.
    expect((await ask('?limit=1', ['**'], { Accept: BROWSER })).status).toBe(200);
  });

  test('is a page for each directory, with what the token covers', async () => {
    const page = await ask('/');
    expect(page.status).toBe(200);
    expect(page.headers).toMatchObject({
      'content-type': 'text/html; charset=utf-8',
      'content-security-policy': expect.stringContaining("default-src 'none'"),
      'x-content-type-options': 'nosniff',
      'cache-control': 'no-store',
      vary: 'Accept',
    });
    const links = ({ bytes }: AppAnswer): string[] =>
      [...bytes.toString().matchAll(/href="([^"]*)"/g)].map(([, href]) => String(href));
    expect(links(page)).toEqual(['a.csv', 'b/', 'd%20e/', 'reports/', 'z.csv']);
    expect(page.bytes.toString()).toMatch(/<p>2 datasets and 3 folders<\/p>\n<\/body>\n<\/html>\n$/);
    expect(links(await ask('/', ['reports/**', 'a.csv']))).toEqual(['a.csv', 'reports/']);
    expect(links(await ask('/b/?glob=**/*.csv'))).toEqual(['../', '1.csv', 'c/']);
    // A glob is about what the page shows.
    expect(links(await ask('/?glob=*.csv'))).toEqual(['a.csv', 'z.csv']);
    expect(links(await ask('/b/?glob=*.csv'))).toEqual(['../', '1.csv']);
    expect(links(await ask('/b/?glob={2.*,c/*}'))).toEqual(['../', '2.txt', 'c/']);
    const none = await ask('/b/?glob=b/*.csv');
    expect([none.status, links(none)]).toEqual([200, ['../']]);
    expect(links(await ask('/d%20e/'))).toEqual(['../', '%231%3F.csv', '%3Ci%3E%22x%22/']);
    expect(links(await ask('/d%20e/%3Ci%3E%22x%22/'))).toEqual(['../', '1.csv']);
  });

  test('is JSON there as well for who names nothing else', async () => {
    const answer = await ask('/b/?limit=2', ['**'], { Accept: 'application/json' });
    expect(read(answer)).toEqual({ datasets: ['b/1.csv', 'b/2.txt'], prefixes: [], next: 'b/2.txt' });
    expect(answer.headers['link']).toBe('<?limit=2&cursor=b%2F2.txt>; rel="next"');
    const matching = await ask('/b/?glob=*.csv', ['**'], { Accept: 'application/json' });
    expect(read(matching)).toEqual({ datasets: ['b/1.csv'], prefixes: [] });
    expect(read(await ask('/b/?limit=2&cursor=b%2F2.txt', ['**'], { Accept: 'application/json' }))).toEqual({
      datasets: [],
      prefixes: ['b/c/'],
    });
  });

  test.each([
    ['/nothing/', ['**'], 404, 'dataset_not_found'],
    ['/empty/', ['**'], 404, 'dataset_not_found'],
    ['/a.csv/', ['**'], 404, 'dataset_not_found'],
    ['/b/', ['reports/**'], 404, 'dataset_not_found'],
    ['/%2e%2e%2fb/', ['**'], 400, 'invalid_request'],
    ['/b//', ['**'], 400, 'invalid_request'],
    ['/b/%zz/', ['**'], 400, 'invalid_request'],
  ])('has no page at %j for who may read %j: %i', async (path, globs, status, code) => {
    const answer = await ask(path, globs);
    expect([answer.status, answer.json()]).toEqual([status, expect.objectContaining({ code })]);
  });

  test('answers HEAD with what GET would say, and other methods with those that there are', async () => {
    const headers = bearer(await token('**'));
    const head = await call(url, 'HEAD', `/connectors/${MAC}/datasets/b/`, headers);
    expect([head.status, head.headers['content-type'], head.bytes.length]).toEqual([
      200,
      'text/html; charset=utf-8',
      0,
    ]);
    expect((await call(url, 'HEAD', `/connectors/${MAC}/datasets/nothing/`, headers)).status).toBe(404);
    const post = await call(url, 'POST', `/connectors/${MAC}/datasets/b/`, headers);
    expect([post.status, post.headers['allow']]).toEqual([405, 'GET, HEAD, OPTIONS']);
  });

  test('asks for a token, and tells nobody of connectors that it does not cover', async () => {
    for (const path of ['/', '/b/'])
      expect((await call(url, 'GET', `/connectors/${MAC}/datasets${path}`)).status).toBe(401);
    const other = await signToken(
      { role: 'app', macs: ['cc-28-aa-01-02-04' as Mac], datasets: ['**'] },
      SECRETS[0] as string,
    );
    expect((await call(url, 'GET', `/connectors/${MAC}/datasets/`, bearer(other))).status).toBe(403);
    const never = await call(url, 'GET', '/connectors/cc-28-aa-01-02-04/datasets/', bearer(other));
    expect([never.status, never.json()]).toEqual([404, expect.objectContaining({ code: 'connector_not_found' })]);
  });

  test('is asked for without what the connector does not know', () => {
    if (asked === undefined) return;
    const known = new Set(['command', 'inline_max', 'limit', 'cursor', 'traceparent']);
    expect(asked.flatMap((command) => Object.keys(command)).filter((name) => !known.has(name))).toEqual([]);
    expect(asked).toContainEqual(expect.objectContaining({ cursor: 'reports/' }));
  });
});

test('a page whose connector fails in the middle is reset, so that it never looks whole', async () => {
  await using router = await startRouter();
  await using connector = await PlainConnector.connect(router.url, { capabilities: 'list' });
  const answer = call(router.url, 'GET', `/connectors/${MAC}/datasets/`);
  const first = await connector.next();
  const datasets = Array.from({ length: 1000 }, (_, index) => ({ name: `f${index + 1000}`, size: 1 }));
  await connector.post('/datasets/result', { request_id: first.request_id, datasets, next: 'f1999' });
  const second = await connector.next();
  const error = { code: 'data_dir_unavailable', message: 'gone' };
  await connector.post('/datasets/result', { request_id: second.request_id, error });
  const { bytes, error: seen } = await answer;
  expect(seen).toBeDefined();
  expect(bytes.toString()).toContain('f1000');
  expect(bytes.toString()).not.toContain('</html>');
});

test('a directory whose name looks like a pattern is itself, whatever its glob', async () => {
  await using router = await startRouter();
  await using node = await PlainConnector.connect(router.url, { capabilities: 'list, list-filter' });
  const page = call(router.url, 'GET', `/connectors/${MAC}/datasets/s[1]%20{x}*/?glob=*.csv`);
  const { request_id, glob, prefix } = await node.next();
  expect([prefix, glob]).toEqual(['s[1] {x}*/', String.raw`s\[1\] \{x\}\*/*.csv`]);
  const datasets = ['s[1] {x}*/a.csv', 's[1] {x}*/b.txt'].map((name) => ({ name, size: 1 }));
  await node.post('/datasets/result', { request_id, datasets });
  expect((await page).bytes.toString()).toMatch(/href="a\.csv"[^]*<p>1 dataset/);
});

test('a page that nobody reads on is not asked for on, and is given up when its reader goes', async () => {
  await using router = await startRouter();
  await using connector = await PlainConnector.connect(router.url, { capabilities: 'list' });
  const served = { pages: 0 };
  void (async () => {
    for (;;) {
      const { request_id, limit } = await connector.next();
      const number = limit === 1 ? 0 : 1_000_000 + 1000 * served.pages++;
      const names = Array.from({ length: Number(limit) }, (_, index) => `${'x'.repeat(200)}${number + index}`);
      const datasets = names.map((name) => ({ name, size: 1 }));
      await connector.post('/datasets/result', { request_id, datasets, next: names.at(-1) });
    }
  })();
  /** As long as the router takes for some other requests. */
  const aWhile = async (): Promise<void> => {
    for (let count = 0; count < 50; count++) {
      const { status } = await call(router.url, 'GET', `/connectors/${MAC}/datasets?limit=1`);
      expect(status).toBe(200);
    }
  };
  const { hostname, port } = new URL(router.url);
  const socket = net.connect(Number(port), hostname);
  socket.pause();
  socket.write(`GET /connectors/${MAC}/datasets/ HTTP/1.1\r\nHost: ${hostname}:${port}\r\n\r\n`);
  // Kernels hold some megabytes, and a page of 1000 names is half of one.
  let before: number;
  do {
    before = served.pages;
    await aWhile();
    expect(served.pages).toBeLessThan(60);
  } while (served.pages === 0 || served.pages !== before);
  socket.destroy();
  await once(socket, 'close');
  await aWhile();
  expect(served.pages).toBe(before);
});
