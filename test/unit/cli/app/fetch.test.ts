import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import http, { type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { expect, test } from '@jest/globals';
import { Agent } from 'undici';
import { createFetch } from '../../../../src/cli/app/fetch.ts';
import type { Fetch } from '../../../../src/index.ts';

const MIB = 1024 * 1024;

/** A server, and a `fetch` that reaches it. */
async function serve(listener: RequestListener): Promise<{ url: string; fetch: Fetch } & AsyncDisposable> {
  const server = http.createServer(listener).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const agent = new Agent();
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    fetch: createFetch(agent),
    [Symbol.asyncDispose]: async () => {
      await agent.destroy();
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

const MANUAL = { redirect: 'manual' } as const;

test('gives status, headers and the bytes, and sends method, headers and text', async () => {
  const content = randomBytes(5 * MIB);
  let asked: IncomingMessage | undefined;
  let text = '';
  await using server = await serve((request, response) => {
    asked = request;
    request.setEncoding('utf8').on('data', (piece: string) => {
      text += piece;
    });
    response.writeHead(201, 'Made', ['Set-Cookie', 'a=1', 'Set-Cookie', 'b=2', 'ETag', '"e"']);
    request.on('end', () => response.end(content));
  });
  const init = { ...MANUAL, method: 'POST', headers: { 'X-One': '1' }, body: 'größe' };
  const response = await server.fetch(new URL('a/b?c=d', server.url), init);
  expect([response.status, response.statusText, response.ok]).toEqual([201, 'Made', true]);
  expect(response.headers.get('etag')).toBe('"e"');
  expect(response.headers.getSetCookie()).toEqual(['a=1', 'b=2']);
  expect(Buffer.from(await response.arrayBuffer()).equals(content)).toBe(true);
  expect(asked).toMatchObject({ method: 'POST', url: '/a/b?c=d', headers: { 'x-one': '1' } });
  expect(text).toBe('größe');
});

test.each([
  ['gzip', gzipSync],
  ['zstd', zstdCompressSync],
])('decodes a body in %s', async (coding, encode) => {
  const content = Buffer.from('zeile;wert\n'.repeat(100_000));
  await using server = await serve((_, response) => {
    response.writeHead(200, { 'Content-Encoding': coding }).end(encode(content));
  });
  const response = await server.fetch(server.url, MANUAL);
  expect(response.headers.get('content-encoding')).toBe(coding);
  expect(Buffer.from(await response.arrayBuffer()).equals(content)).toBe(true);
});

test.each([
  ['HEAD', 200],
  ['GET', 204],
  ['GET', 304],
])('gives no body for %s and %d', async (method, status) => {
  await using server = await serve((_, response) => response.writeHead(status, { ETag: '"e"' }).end());
  const response = await server.fetch(server.url, { ...MANUAL, method });
  expect([response.status, response.body]).toEqual([status, null]);
});

test('follows no redirect where that is manual, and else it does', async () => {
  await using server = await serve((request, response) => {
    if (request.url === '/there') response.end('there');
    else response.writeHead(307, { Location: '/there' }).end();
  });
  const stayed = await server.fetch(server.url, MANUAL);
  expect([stayed.status, stayed.headers.get('location')]).toEqual([307, '/there']);
  await stayed.body?.cancel();
  expect(await (await server.fetch(server.url)).text()).toBe('there');
});

test('waits with a reader that is slow, and loses nothing', async () => {
  const content = randomBytes(16 * MIB);
  await using server = await serve((_, response) => response.end(content));
  const { body } = await server.fetch(server.url, MANUAL);
  const pieces: Uint8Array[] = [];
  for await (const piece of body as ReadableStream<Uint8Array>) {
    pieces.push(piece);
    await new Promise(setImmediate);
  }
  expect(Buffer.concat(pieces).equals(content)).toBe(true);
});

test('fails as fetch does where nobody is there, and where a body breaks off', async () => {
  await using server = await serve((_, response) => {
    response.writeHead(200, { 'Content-Length': 10 });
    response.write('abc', () => response.destroy());
  });
  const response = await server.fetch(server.url, MANUAL);
  await expect(response.text()).rejects.toMatchObject({ message: 'fetch failed', cause: { code: 'UND_ERR_SOCKET' } });
  const nobody = server.fetch('http://127.0.0.1:1/', MANUAL);
  await expect(nobody).rejects.toMatchObject({ name: 'TypeError', cause: { code: 'ECONNREFUSED' } });
});

test.each(['before', 'while it waits', 'in the body', 'by cancelling the body'])('ends %s', async (when) => {
  const arrived = Promise.withResolvers<ServerResponse>();
  await using server = await serve((_, response) => {
    if (when !== 'while it waits') response.write('abc');
    arrived.resolve(response);
  });
  const abort = new AbortController();
  const reason = new Error('enough');
  if (when === 'before') abort.abort(reason);
  const answer = server.fetch(server.url, { ...MANUAL, signal: abort.signal });
  if (when === 'before') {
    await expect(answer).rejects.toBe(reason);
    return;
  }
  const closed = arrived.promise.then((response) => once(response, 'close'));
  if (when === 'while it waits') {
    await arrived.promise;
    abort.abort(reason);
    await expect(answer).rejects.toBe(reason);
  } else {
    const reader = ((await answer).body as ReadableStream<Uint8Array>).getReader();
    expect(Buffer.from((await reader.read()).value as Uint8Array).toString()).toBe('abc');
    if (when === 'in the body') {
      const next = reader.read();
      abort.abort(reason);
      await expect(next).rejects.toBe(reason);
    } else await reader.cancel(reason);
  }
  await closed;
});
