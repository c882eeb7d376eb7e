import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import http from 'node:http';
import { zstdCompressSync } from 'node:zlib';
import { describe, expect, test } from '@jest/globals';
import { FarLine } from '../../support/far-line.ts';
import { FaultyLine } from '../../support/faulty-line.ts';
import { startOwnConnector } from '../../support/own-connector.ts';
import { ask, call } from '../../support/plain-app.ts';
import { startRouter } from '../../support/router.ts';

const STREAM = '/datasets/request-stream';
const SYNC = '/datasets/request-sync';
const OCTETS = { Accept: 'application/octet-stream', 'Want-Repr-Digest': 'sha-256=1' };
const CSV = Buffer.from(
  Array.from({ length: 100_000 }, (_, index) => `${1_700_000_000 + index},sensor-${index % 17},21.5,ok\n`).join(''),
);
const NOISE = randomBytes(2_000_000);

/** A connector whose line to the router carries so many bytes a second, and counts them. */
async function makeSite(
  bytes: Buffer,
  bytesPerSecond: number,
): Promise<AsyncDisposable & { url: string; sent: () => number }> {
  const resources = new AsyncDisposableStack();
  const { url } = resources.use(await startRouter());
  const line = resources.use(await FaultyLine.to(Number(new URL(url).port)));
  line.bytesPerSecond = bytesPerSecond;
  resources.use(await startOwnConnector(line.url, bytes));
  return { url, sent: () => line.passed('data', 'up'), [Symbol.asyncDispose]: () => resources.disposeAsync() };
}

const digestOf = (bytes: Buffer): string => `sha-256=:${createHash('sha256').update(bytes).digest('base64')}:`;

describe.each([STREAM, SYNC])('%s over a thin line', (path) => {
  test('carries what is left of a text when it is coded, and brings all of it', async () => {
    await using site = await makeSite(CSV, 2_000_000);
    for (let count = 0; count < 2; count++) {
      const before = site.sent();
      const { bytes, headers, trailers } = await ask(site.url, path, undefined, OCTETS).answer;
      expect(bytes.equals(CSV)).toBe(true);
      expect({ ...headers, ...trailers }['repr-digest']).toBe(digestOf(CSV));
      // At first a little goes plain, to see how fast the line is.
      const plain = count === 0 ? 64 * 1024 : 0;
      expect(site.sent() - before).toBeLessThan(1.2 * zstdCompressSync(CSV).length + plain + 10_000);
    }
  });

  test('sends as it is what does not become smaller', async () => {
    await using site = await makeSite(NOISE, 8_000_000);
    for (let count = 0; count < 2; count++) {
      const before = site.sent();
      const { bytes } = await ask(site.url, path, undefined, OCTETS).answer;
      expect(bytes.equals(NOISE)).toBe(true);
      expect(site.sent() - before).toBeLessThan(NOISE.length + 10_000);
    }
  });
});

/** Brings the dataset into the store anew, and checks what the store has then. */
async function offload(url: string, content: Buffer): Promise<void> {
  const { json } = await ask(url, '/datasets/request-offload', undefined, {
    'Cache-Control': 'no-cache',
    'Want-Repr-Digest': 'sha-256=1',
  }).answer;
  expect(json()).toMatchObject({ status: 'success', size: content.length, digest: digestOf(content) });
  const { pathname, search } = new URL(String(json()['download_url']));
  const { bytes, headers } = await call(url, 'GET', pathname + search, { 'Accept-Encoding': 'zstd, gzip' });
  expect(bytes.equals(content)).toBe(true);
  expect(headers).not.toHaveProperty('content-encoding');
}

describe("to the router's own store, over a thin line", () => {
  const LARGE = Buffer.concat(Array.from({ length: 6 }, () => CSV));

  test.each([
    ['a text in one piece', CSV],
    ['a text in parts', LARGE],
  ])('%s goes coded', async (_, content) => {
    await using site = await makeSite(content, 2_000_000);
    for (let count = 0; count < 2; count++) {
      const before = site.sent();
      await offload(site.url, content);
      // At first a little of each part goes plain, to see how fast the line is.
      const plain = content === LARGE && count === 0 ? 2 * 64 * 1024 : 0;
      expect(site.sent() - before).toBeLessThan(1.2 * zstdCompressSync(content).length + plain + 20_000);
    }
  });

  test('what does not become smaller goes as it is', async () => {
    await using site = await makeSite(NOISE, 8_000_000);
    await offload(site.url, NOISE);
    expect(site.sent()).toBeGreaterThan(NOISE.length);
    expect(site.sent()).toBeLessThan(NOISE.length + 10_000);
  });

  test('a text that the line is too fast for goes as it is', async () => {
    await using site = await makeSite(LARGE, Number.POSITIVE_INFINITY);
    // A stream tells how fast the line to the router is.
    for (let count = 0; count < 3; count++) await ask(site.url, STREAM).answer;
    const before = site.sent();
    await offload(site.url, LARGE);
    expect(site.sent() - before).toBeGreaterThan(LARGE.length / 2);
  });
});

test('a text goes as it is where the line is faster than any coder', async () => {
  const large = Buffer.concat(Array.from({ length: 10 }, () => CSV));
  await using site = await makeSite(large, Number.POSITIVE_INFINITY);
  // The first ones are to find out.
  for (let count = 0; count < 3; count++) await ask(site.url, STREAM).answer;
  const before = site.sent();
  const { bytes } = await ask(site.url, STREAM).answer;
  expect(bytes.equals(large)).toBe(true);
  expect(site.sent() - before).toBeGreaterThanOrEqual(large.length);
});

test('over a long way, what comes by several connections is coded as well', async () => {
  const large = Buffer.concat(Array.from({ length: 8 }, () => CSV));
  await using router = await startRouter();
  await using line = await FarLine.to(router.url, 25);
  await using counting = await FaultyLine.to(Number(new URL(line.url).port));
  await using _ = await startOwnConnector(counting.url, large);
  const { bytes } = await ask(router.url, STREAM).answer;
  expect(bytes.equals(large)).toBe(true);
  expect(line.mostBusy).toBeGreaterThan(1);
  expect(counting.passed('data', 'up')).toBeLessThan(large.length / 2);
});

const streamed = async (url: string): Promise<void> => {
  const { bytes } = await ask(url, STREAM).answer;
  expect(bytes.equals(CSV)).toBe(true);
};

test.each([
  ['a stream', streamed],
  ['an upload', (url: string) => offload(url, CSV)],
])('where a proxy wants the length of every body, %s goes plain from then on', async (_, fetchAnew) => {
  await using router = await startRouter();
  const target = new URL(router.url);
  const refused: string[] = [];
  // What such a proxy does: it hands requests over, and refuses those without a length.
  const proxy = http.createServer((request, response) => {
    if (request.headers['transfer-encoding'] !== undefined) {
      refused.push(String(request.headers['content-encoding']));
      response.writeHead(411, { Connection: 'close' }).end('<html>Length Required');
      return;
    }
    const { method, url, headers } = request;
    const onward = http.request({ host: target.hostname, port: target.port, method, path: url, headers }, (reply) => {
      response.writeHead(reply.statusCode ?? 500, reply.headers);
      reply.pipe(response);
    });
    onward.on('error', () => response.destroy());
    // Slowly, so that coding would be worth it.
    request.on('data', (piece: Buffer) => {
      onward.write(piece);
      request.pause();
      setTimeout(() => request.resume(), piece.length / 4000);
    });
    request.on('end', () => onward.end());
  });
  await once(proxy.listen(0, '127.0.0.1'), 'listening');
  const { port } = proxy.address() as { port: number };
  await using stack = new AsyncDisposableStack();
  stack.defer(async () => {
    proxy.closeAllConnections();
    await new Promise((resolve) => proxy.close(resolve));
  });
  stack.use(await startOwnConnector(`http://127.0.0.1:${port}`, CSV, { transport: 'sse' }));
  for (let count = 0; count < 2; count++) await fetchAnew(router.url);
  expect(refused).toEqual(['zstd']);
});
