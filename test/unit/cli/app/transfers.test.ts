import { execFile } from 'node:child_process';
import { EventEmitter, once } from 'node:events';
import { createReadStream } from 'node:fs';
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import {
  digestOf,
  MAC,
  makeBytes,
  REQUEST_ID,
  sendJson,
  sendProblem,
  serve,
  statusOf,
} from '../../client/stub-server.ts';
import { runApp } from './command-line.ts';

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'relay-app-'));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

const bytes = makeBytes(300_000);
const lastModified = new Date('2026-01-31T12:00:00Z');

/** A router that has one dataset, for every pattern. */
const serveDataset = (digest: string | null = digestOf(bytes)) =>
  serve(({ method, url, headers }, response) => {
    if (url === '/datasets/request-offload') return sendJson(response, 202, statusOf('waiting'));
    if (url.startsWith('/requests/')) {
      const download = { download_url: `http://${headers.host}/object`, last_modified: lastModified.toISOString() };
      return sendJson(response, 200, statusOf('done', { digest, total_size: bytes.length, etag: '"v"', ...download }));
    }
    if (url === '/datasets/request-sync' && headers.accept !== 'application/octet-stream') {
      const data = { data: bytes.toString('base64'), encoding: 'base64', size: bytes.length };
      return sendJson(response, 200, { status: 'success', ...data, ...(digest !== null && { digest }) });
    }
    if (url === '/datasets/request-digest') return sendProblem(response, 501, 'not_supported');
    expect([method, url]).toEqual([expect.any(String), expect.stringMatching(/^\/(object|datasets\/request-s\w+)$/)]);
    response.writeHead(200, { 'Content-Length': bytes.length, 'Last-Modified': lastModified.toUTCString() });
    response.end(bytes);
  });

test('a token file that changes while a connector is waited for counts from then on', async () => {
  const tokenFile = join(directory, 'token');
  await writeFile(tokenFile, 'first\n');
  await using relay = await serve(async ({ headers }, response) => {
    if (headers.authorization === 'Bearer second') {
      response.writeHead(200, { 'Repr-Digest': digestOf(bytes) }).end(bytes);
      return;
    }
    await writeFile(tokenFile, 'second\n');
    sendProblem(response, 503, 'connector_offline', {
      retryable: true,
      last_seen: '2026-01-31T12:00:00Z',
      retry_after: 2,
    });
  });
  const words = ['request-stream', MAC, 'a', '--wait', '1m', '--token-file', tokenFile];
  const { code, stderr } = await runApp(words, { router: relay.url });
  expect([code, stderr]).toEqual([0, expect.stringContaining('waiting for the connector')]);
  const shown = new Set(relay.seen.map(({ headers }) => headers.authorization));
  expect([...shown]).toEqual(['Bearer first', 'Bearer second']);
});

describe.each(['request-sync', 'request-stream', 'request-offload'])('%s', (command) => {
  test('brings the bytes to standard output and says nothing', async () => {
    await using relay = await serveDataset();
    const { code, stdout, stderr } = await runApp([command, MAC, 'a b/ü.csv'], { router: relay.url });
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout.equals(bytes)).toBe(true);
    expect(JSON.parse(relay.seen[0]?.body ?? '')).toEqual({ mac: MAC, dataset: 'a b/ü.csv' });
  });

  test('brings them to a file, with the time of the dataset', async () => {
    await using relay = await serveDataset();
    const path = join(directory, 'out');
    const { code, stdout } = await runApp([command, MAC, 'a', '-o', path], { router: relay.url });
    expect({ code, stdout: stdout.length }).toEqual({ code: 0, stdout: 0 });
    expect((await readFile(path)).equals(bytes)).toBe(true);
    expect((await stat(path)).mtime).toEqual(lastModified);
  });

  test('exits 7 and leaves no file where the digest differs', async () => {
    await using relay = await serveDataset(digestOf('other'));
    const words = [command, MAC, 'a', '-o', join(directory, 'out'), '--retry', '0'];
    const { code, stderr } = await runApp(words, { router: relay.url });
    expect({ code, names: await readdir(directory) }).toEqual({ code: 7, names: [] });
    expect(stderr).toContain('was promised');
  });

  test('says unverified where there is no digest, and exits 7 with --verify', async () => {
    await using relay = await serveDataset(null);
    const plain = await runApp([command, MAC, 'a'], { router: relay.url });
    expect(plain.code).toBe(0);
    expect(plain.stderr).toContain('unverified');
    expect((await runApp([command, MAC, 'a', '-q'], { router: relay.url })).stderr).toBe('');
    const strict = await runApp([command, MAC, 'a', '--verify', '-o', join(directory, 'out')], { router: relay.url });
    expect({ code: strict.code, names: await readdir(directory) }).toEqual({ code: 7, names: [] });
  });

  test('tries again what may pass, from the start, as long as no byte is out', async () => {
    let asked = 0;
    await using good = await serveDataset();
    await using relay = await serve(async ({ method, url, body, headers }, response) => {
      asked += method === 'POST' ? 1 : 0;
      if (asked === 1) return sendProblem(response, 503, 'overloaded', { retryable: true });
      const answer = await fetch(good.url + url, {
        method,
        ...(method === 'POST' && { body }),
        headers: { accept: headers.accept ?? '' },
      });
      response.writeHead(answer.status, Object.fromEntries(answer.headers));
      response.end(Buffer.from(await answer.arrayBuffer()));
    });
    const { code, stdout, stderr } = await runApp([command, MAC, 'a'], { router: relay.url });
    expect(code).toBe(0);
    expect(stdout.equals(bytes)).toBe(true);
    expect(stderr).toMatch(/overloaded; trying again in .* s \(1 of 3\)/);
  });

  test.each([
    ['connector_offline', 503, 4],
    ['dataset_not_found', 404, 3],
    ['forbidden', 403, 6],
    ['request_timeout', 504, 5],
    ['dataset_too_large', 413, 10],
    ['invalid_request', 400, 2],
    ['overloaded', 503, 8],
    ['internal', 500, 1],
  ])('exits by the code of the error: %s', async (problem, status, expected) => {
    await using relay = await serve((_, response) => sendProblem(response, status, problem));
    const { code, stdout, stderr } = await runApp([command, MAC, 'a'], { router: relay.url });
    expect({ code, stdout: stdout.length }).toEqual({ code: expected, stdout: 0 });
    expect(stderr).toMatch(/^relay: /m);
  });

  test('takes a name that begins with a hyphen after --, and says what is missing or too much', async () => {
    await using relay = await serveDataset();
    expect(await runApp([command, MAC, '--', '-x.csv'], { router: relay.url })).toMatchObject({ code: 0 });
    expect(await runApp([command, '-q', '--', MAC, '--y'], { router: relay.url })).toMatchObject({ code: 0 });
    const names = relay.seen.filter(({ method, body }) => method === 'POST' && body !== '');
    expect(names.map(({ body }) => (JSON.parse(body) as { dataset: string }).dataset)).toEqual(['-x.csv', '--y']);
    const missing = await runApp([command, MAC], { router: relay.url });
    expect(missing).toMatchObject({ code: 2, stderr: expect.stringContaining('<dataset>') });
    expect(await runApp([command, MAC, 'a', 'b'], { router: relay.url })).toMatchObject({ code: 2 });
    expect(await runApp([command, '--', MAC, 'a', 'b'], { router: relay.url })).toMatchObject({ code: 2 });
  });
});

describe('request-stream', () => {
  test('does not begin again once bytes are out', async () => {
    await using relay = await serve((_, response) => {
      response.writeHead(200, { 'Content-Length': 10 });
      response.write('abc', () => response.socket?.resetAndDestroy());
    });
    const { code, stdout } = await runApp(['request-stream', MAC, 'a'], { router: relay.url });
    expect({ code, stdout: String(stdout) }).toEqual({ code: 1, stdout: 'abc' });
    expect(relay.seen.filter(({ method }) => method === 'POST')).toHaveLength(1);
  });

  test('does not begin again into a pipe that has got some of it', async () => {
    const path = join(directory, 'pipe');
    await promisify(execFile)('mkfifo', [path]);
    const reader = createReadStream(path);
    await using relay = await serve(({ method }, response) => {
      if (method === 'GET') return sendProblem(response, 410, 'request_gone');
      response.writeHead(200, { 'Content-Length': 10 });
      response.write('abc');
      reader.once('data', () => response.socket?.resetAndDestroy());
    });
    const { code } = await runApp(['request-stream', MAC, 'a', '-o', path], { router: relay.url });
    expect(code).toBe(1);
    expect(relay.seen.filter(({ method }) => method === 'POST')).toHaveLength(1);
    if (!reader.closed) await once(reader, 'close');
  });

  test('begins again into a file', async () => {
    let asked = 0;
    await using relay = await serve(({ method }, response) => {
      if (method === 'GET') return sendJson(response, 200, statusOf('done', { digest: digestOf('abcdef') }));
      asked += 1;
      response.writeHead(200, { 'Content-Length': 6 });
      if (asked > 1) response.end('abcdef');
      else response.write('abc', () => response.socket?.resetAndDestroy());
    });
    const path = join(directory, 'out');
    const { code } = await runApp(['request-stream', MAC, 'a', '-o', path], { router: relay.url });
    expect({ code, text: await readFile(path, 'utf8') }).toEqual({ code: 0, text: 'abcdef' });
  });

  test('has no JSON', async () => {
    const { code, stderr } = await runApp(['request-stream', MAC, 'a', '--json'], { router: 'http://127.0.0.1:1' });
    expect({ code, stderr }).toEqual({ code: 2, stderr: expect.stringContaining('no JSON') });
  });

  test('ends well and at once when nobody reads any more', async () => {
    const closed = Promise.withResolvers<void>();
    await using relay = await serve((_, response) => {
      response.on('close', closed.resolve);
      response.write('abc');
    });
    const stdout = new Writable({
      write: (_piece, _encoding, done) =>
        done(Object.assign(new Error('write EPIPE'), { code: 'EPIPE', syscall: 'write' })),
    });
    const { code, stderr } = await runApp(['request-stream', MAC, 'a'], { router: relay.url, stdout });
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    await closed.promise;
  });

  test('exits 9 when standard output is full', async () => {
    await using relay = await serveDataset();
    const stdout = new Writable({
      write: (_piece, _encoding, done) =>
        done(Object.assign(new Error('ENOSPC'), { code: 'ENOSPC', syscall: 'write' })),
    });
    const { code, stderr } = await runApp(['request-stream', MAC, 'a'], { router: relay.url, stdout });
    expect({ code, stderr }).toEqual({ code: 9, stderr: expect.stringContaining('no space') });
  });

  test('reads no faster than standard output is read', async () => {
    let sent = 0;
    await using relay = await serve((_, response) => {
      const piece = Buffer.alloc(1024 * 1024);
      const more = (): void => {
        while (sent < 400 * piece.length) {
          sent += piece.length;
          if (!response.write(piece)) {
            response.once('drain', more);
            return;
          }
        }
      };
      more();
    });
    const taken = Promise.withResolvers<void>();
    // Takes one piece and then no more.
    const stdout = new Writable({ highWaterMark: 1, write: () => taken.resolve() });
    const signals = new EventEmitter();
    const running = runApp(['request-stream', MAC, 'a'], { router: relay.url, stdout, signals });
    await taken.promise;
    let before = -1;
    while (before !== sent) {
      before = sent;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    expect(sent).toBeLessThan(64 * 1024 * 1024);
    signals.emit('SIGINT');
    expect(await running).toMatchObject({ code: 130 });
  });

  test('cancels at the router on Ctrl-C, leaves no file, and exits 130', async () => {
    const closed = Promise.withResolvers<void>();
    const signals = new EventEmitter();
    await using relay = await serve((_, response) => {
      response.on('close', closed.resolve);
      response.write('abc', () => signals.emit('SIGINT'));
    });
    const path = join(directory, 'out');
    const { code } = await runApp(['request-stream', MAC, 'a', '-o', path], { router: relay.url, signals });
    await closed.promise;
    expect({ code, names: await readdir(directory) }).toEqual({ code: 130, names: [] });
    expect(signals.listenerCount('SIGINT')).toBe(0);
  });

  test('exits 5 when the time allowed has run out', async () => {
    await using relay = await serve(() => undefined);
    const { code, stderr } = await runApp(['request-stream', MAC, 'a', '--timeout', '50ms'], { router: relay.url });
    expect({ code, stderr }).toEqual({ code: 5, stderr: expect.stringContaining('run out') });
  });

  test('waits for a connector that is offline, as long as it may', async () => {
    let asked = 0;
    await using relay = await serve(({ method }, response) => {
      if (method === 'GET') return sendJson(response, 200, statusOf('done', { digest: digestOf('abc') }));
      asked += 1;
      if (asked > 1) response.end('abc');
      else sendProblem(response, 503, 'connector_offline', { last_seen: null });
    });
    const words = ['request-stream', MAC, 'a', '--retry', '0', '--wait', '1m'];
    const { code, stdout, stderr } = await runApp(words, { router: relay.url });
    expect({ code, stdout: String(stdout) }).toEqual({ code: 0, stdout: 'abc' });
    expect(stderr).toContain('waiting for the connector for up to 1 min');
  });
});

test('a router that is away is waited for, which is said at once, and Ctrl-C ends it', async () => {
  const signals = new EventEmitter();
  await using relay = await serve((_, response) => {
    response.writeHead(502).end('nobody there');
    if (relay.seen.length === 2) signals.emit('SIGINT');
  });
  const { code, stderr } = await runApp(['request-stream', MAC, 'a'], { router: relay.url, signals });
  expect(code).toBe(130);
  expect(stderr).toContain('answered 502 Bad Gateway');
  expect(stderr).toContain('waiting for the router for up to 1 min\n');
  expect(stderr).toContain('Is the router running, and is --router (RELAY_ROUTER) its address?');
});

test.each([[[]], [['--json']]])(
  'a request-sync whose silence a gateway ended is not asked for again %j',
  async (words) => {
    await using relay = await serve((_, response) => {
      response.removeHeader('Relay-Request-Id');
      response.writeHead(504, { 'Content-Type': 'text/html' }).end('<h1>504 Gateway Time-out</h1>');
    });
    const { code, stdout, stderr } = await runApp(['request-sync', MAC, 'a', ...words], { router: relay.url });
    expect({ code, stdout: stdout.length }).toEqual({ code: 5, stdout: 0 });
    expect(stderr).toContain('a gateway in between gave up waiting for the router (HTTP 504)');
    expect(stderr).toContain(`relay app request-stream ${MAC} a`);
    expect(stderr).not.toMatch(/Is the router running|trying again|waiting for the router for/);
    expect(relay.seen).toHaveLength(1);
  },
);

describe('request-sync --json', () => {
  test("prints the router's answer, or writes it to the file", async () => {
    await using relay = await serveDataset();
    const { stdout } = await runApp(['request-sync', MAC, 'a', '--json'], { router: relay.url });
    const answer = JSON.parse(String(stdout)) as Record<string, unknown>;
    expect(answer).toMatchObject({ status: 'success', encoding: 'base64', digest: digestOf(bytes) });
    expect(answer).not.toHaveProperty('unverified');
    const path = join(directory, 'out');
    await runApp(['request-sync', MAC, 'a', '--json', '-o', path], { router: relay.url });
    expect(JSON.parse(await readFile(path, 'utf8'))).toEqual(answer);
  });

  test('says unverified in it, and checks the data', async () => {
    await using bare = await serveDataset(null);
    const { stdout } = await runApp(['request-sync', MAC, 'a', '--json'], { router: bare.url });
    expect(JSON.parse(String(stdout))).toHaveProperty('unverified', true);
    await using wrong = await serveDataset(digestOf('other'));
    const words = ['request-sync', MAC, 'a', '--json', '--retry', '0'];
    expect(await runApp(words, { router: wrong.url })).toMatchObject({ code: 7, stdout: Buffer.alloc(0) });
  });

  test('gives an error as one line of JSON too', async () => {
    await using relay = await serve((_, response) =>
      sendProblem(response, 503, 'connector_offline', { last_seen: '2026-01-31T12:00:00Z', retryable: true }),
    );
    const { code, stderr } = await runApp(['request-sync', MAC, 'a', '--json'], { router: relay.url });
    expect(code).toBe(4);
    expect(JSON.parse(stderr.split('\n')[0] ?? '')).toMatchObject({
      code: 'connector_offline',
      status: 503,
      last_seen: '2026-01-31T12:00:00Z',
      request_id: REQUEST_ID,
    });
  });
});

describe('request-offload', () => {
  test('prints the URL or the answer and does not download', async () => {
    await using relay = await serveDataset();
    const url = await runApp(['request-offload', MAC, 'a', '--url'], { router: relay.url });
    expect(String(url.stdout)).toBe(`${relay.url}/object\n`);
    const json = await runApp(['request-offload', MAC, 'a', '--json'], { router: relay.url });
    expect(JSON.parse(String(json.stdout))).toMatchObject({ status: 'success', download_url: `${relay.url}/object` });
    expect(relay.seen.map((request) => request.url)).not.toContain('/object');
    const both = await runApp(['request-offload', MAC, 'a', '--url', '--json'], { router: relay.url });
    expect(both.code).toBe(2);
  });

  test('prints the answer and saves the dataset with --json and -o', async () => {
    await using relay = await serveDataset();
    const path = join(directory, 'out');
    const { stdout } = await runApp(['request-offload', MAC, 'a', '--json', '-o', path], { router: relay.url });
    expect(JSON.parse(String(stdout))).toMatchObject({ status: 'success' });
    expect((await readFile(path)).equals(bytes)).toBe(true);
  });

  test('does not begin an upload for a file that cannot be written', async () => {
    await using relay = await serveDataset();
    const { code } = await runApp(['request-offload', MAC, 'a', '-o', join(directory, 'no/out')], {
      router: relay.url,
    });
    expect({ code, seen: relay.seen }).toEqual({ code: 9, seen: [] });
  });

  test('cancels the upload on Ctrl-C', async () => {
    const signals = new EventEmitter();
    await using relay = await serve(({ method }, response) => {
      if (method === 'POST') sendJson(response, 202, statusOf('running'));
      else if (method === 'GET') signals.emit('SIGTERM');
      else response.writeHead(204).end();
    });
    const { code } = await runApp(['request-offload', MAC, 'a'], { router: relay.url, signals });
    expect(code).toBe(130);
    expect(relay.seen.at(-1)).toMatchObject({ method: 'DELETE', url: `/requests/${REQUEST_ID}` });
  });

  test('has the dataset uploaded anew where the store gives another content than was promised', async () => {
    let object: Buffer = Buffer.from('another thing');
    await using relay = await serve(({ method, url, headers }, response) => {
      if (url === '/object') {
        response.end(object);
        return;
      }
      if (method === 'POST' && headers['cache-control'] === 'no-cache') object = bytes;
      const download = { download_url: `${relay.url}/object`, digest: digestOf(bytes) };
      sendJson(response, 202, statusOf('done', download));
    });
    const path = join(directory, 'out');
    const { code } = await runApp(['request-offload', MAC, 'a', '-o', path], { router: relay.url });
    expect(code).toBe(0);
    expect((await readFile(path)).equals(bytes)).toBe(true);
    const asked = relay.seen.filter(({ method }) => method === 'POST');
    expect(asked.map(({ headers }) => headers['cache-control'])).toEqual([undefined, 'no-cache']);
  });

  test('refuses another version behind a renewed URL', async () => {
    let asked = 0;
    await using relay = await serve(({ method, url }, response) => {
      asked += method === 'POST' ? 1 : 0;
      if (url === '/object') return sendProblem(response, 403, 'url_expired', { retryable: true });
      const download = { download_url: `${relay.url}/object`, total_size: 3, etag: `"v${asked}"` };
      sendJson(response, 202, statusOf('done', download));
    });
    const words = ['request-offload', MAC, 'a', '--retry', '0'];
    expect(await runApp(words, { router: relay.url })).toMatchObject({ code: 7 });
  });
});
