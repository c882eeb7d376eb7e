import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import http, { type IncomingMessage } from 'node:http';
import { buffer } from 'node:stream/consumers';
import { stat, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, test } from '@jest/globals';
import { Client } from 'undici';
import { type ClientSite, startClientSite } from '../support/client-site.ts';
import { readDocScript } from '../support/doc-commands.ts';
import { findFreePort, startNginx } from '../support/nginx.ts';
import { type AppAnswer, call } from '../support/plain-app.ts';
import { makeTempDir } from '../support/router.ts';

const CLIENTS = join(import.meta.dirname, '../../docs/clients.md');
const BYTES = 5_000_001;

const resources = new AsyncDisposableStack();
let dataDir = '';
let site: ClientSite;
/** The address of datasets behind nginx. */
let cached = '';
/** Of every test its own, and what is in it. */
let name = '';
let content: Buffer;

beforeAll(async () => {
  dataDir = resources.use(await makeTempDir()).path;
  const cache = resources.use(await makeTempDir()).path;
  site = resources.use(await startClientSite({ dataDir, hasToken: true, args: ['--trusted-proxy', '127.0.0.1'] }));
  const port = await findFreePort();
  const upstream = site.router.url;
  const locations = await readDocScript(CLIENTS, 'nginx cache, server', { 'http://relay': upstream });
  const directives = await readDocScript(CLIENTS, 'nginx cache, http', { '/var/cache/nginx/relay': cache });
  resources.use(await startNginx([{ port, upstream, locations }], directives));
  cached = `http://127.0.0.1:${port}${new URL(site.datasets).pathname}`;
}, 60_000);

beforeEach(async () => {
  name = `${randomBytes(4).toString('hex')}.bin`;
  content = randomBytes(BYTES);
  await writeFile(join(dataDir, name), content);
});

afterAll(() => resources.disposeAsync());

/** What an app gets through nginx, and how much the node sent for it. */
async function get(headers: Record<string, string> = {}): Promise<AppAnswer & { sent: number }> {
  const before = site.sentByNode;
  const answer = await call(cached, 'GET', `/${name}`, { ...site.auth, ...headers });
  return { ...answer, sent: site.sentByNode - before };
}

test('nginx keeps a dataset, and asks the node no more than whether it is the same', async () => {
  const first = await get();
  expect([first.status, first.bytes.equals(content)]).toEqual([200, true]);
  expect(first.sent).toBeGreaterThanOrEqual(BYTES);
  for (const range of ['', 'bytes=1000000-2000000', 'bytes=-7', 'bytes=4999990-']) {
    const again = await get(range === '' ? {} : { Range: range });
    const [from, to] = { '': [0], 'bytes=-7': [-7] }[range] ?? (range.match(/\d+/g) ?? []).map(Number);
    expect([range, again.status]).toEqual([range, range === '' ? 200 : 206]);
    const wanted = content.subarray(from, to === undefined ? undefined : to + 1);
    expect([range, again.bytes.equals(wanted)]).toEqual([range, true]);
    expect(again.sent).toBeLessThan(50_000);
  }
  const etag = String(first.headers.etag);
  expect((await get({ 'If-None-Match': etag })).status).toBe(304);
  expect((await get({ Range: `bytes=${BYTES}-` })).status).toBe(416);
});

test('nginx notices another version, and mixes none with another', async () => {
  const old = await get();
  expect((await get()).sent).toBeLessThan(50_000);
  const next = randomBytes(BYTES);
  const { mtime } = await stat(join(dataDir, name));
  await writeFile(join(dataDir, name), next);
  // Even where the time says nothing of it.
  await utimes(join(dataDir, name), mtime, mtime);
  for (;;) {
    // One that is cut between two versions is an error, and the next one is whole.
    const now = await get();
    if (now.error !== undefined) continue;
    const isOld = now.headers.etag === old.headers.etag;
    expect(now.bytes.equals(isOld ? content : next)).toBe(true);
    if (!isOld) break;
  }
});

test('an empty dataset has no slices, which nginx says', async () => {
  await writeFile(join(dataDir, name), '');
  expect((await get()).status).toBe(416);
});

test('what one token has read, nobody reads without it', async () => {
  await get();
  for (const authorization of ['', `${site.auth['authorization']}x`]) {
    expect((await get({ authorization })).status).toBe(401);
  }
});

/** Requests that end in every way, and what each has to bring. */
const REQUESTS: readonly (readonly [headers: Record<string, string>, status: number])[] = [
  [{}, 200],
  [{ range: 'bytes=0-99' }, 206],
  [{ range: `bytes=${BYTES}-` }, 416],
  [{ 'if-match': '"another"' }, 412],
  [{ 'if-none-match': '*' }, 304],
  [{ authorization: '' }, 401],
  [{}, 200],
];

const wantedOf = (status: number): Buffer | undefined =>
  ({ 200: content, 206: content.subarray(0, 100), 304: Buffer.alloc(0) })[status];

test('Node.js reads answers of all kinds over one connection', async () => {
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  const ports = new Set<number | undefined>();
  for (const [headers, status] of REQUESTS) {
    const request = http.get(`${site.datasets}/${name}`, { agent, headers: { ...site.auth, ...headers } });
    const [answer] = (await once(request, 'response')) as [IncomingMessage];
    ports.add(answer.socket.localPort);
    const bytes = await buffer(answer);
    expect([headers, answer.statusCode]).toEqual([headers, status]);
    expect(wantedOf(status)?.equals(bytes) ?? true).toBe(true);
  }
  agent.destroy();
  expect(ports.size).toBe(1);
});

test('undici does, too, and reads heads', async () => {
  const { origin, pathname } = new URL(`${site.datasets}/${name}`);
  const client = new Client(origin);
  let connections = 0;
  client.on('connect', () => (connections += 1));
  for (const [headers, status] of REQUESTS) {
    const answer = await client.request({ path: pathname, method: 'GET', headers: { ...site.auth, ...headers } });
    const bytes = Buffer.from(await answer.body.arrayBuffer());
    expect([headers, answer.statusCode]).toEqual([headers, status]);
    expect(wantedOf(status)?.equals(bytes) ?? true).toBe(true);
  }
  expect(connections).toBe(1);
  // It ends a connection after a HEAD, whatever the server, so this one comes last.
  const head = await client.request({ path: pathname, method: 'HEAD', headers: site.auth });
  await head.body.dump();
  expect(head.headers['content-length']).toBe(String(BYTES));
  await client.close();
});
