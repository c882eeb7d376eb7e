import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export const MAC = 'cc-28-aa-01-02-03';
export const REQUEST_ID = '0a1b2c3d-00112233445566778899aabbccddeeff';

/** One request as a stub saw it. */
export interface Seen {
  readonly method: string;
  /** Path and query. */
  readonly url: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
}

export type Handler = (request: Seen, response: ServerResponse) => void | Promise<void>;

/** A real HTTP server that answers as the test says; it ends with the scope, with everything that is still open. */
export async function serve(handler: Handler): Promise<AsyncDisposable & { url: string; seen: Seen[] }> {
  const seen: Seen[] = [];
  const server = createServer((request, response) => {
    let body = '';
    request.setEncoding('utf8');
    request.on('data', (piece: string) => {
      body += piece;
    });
    request.on('end', () => {
      const { method = '', url = '', headers } = request;
      const one = { method, url, headers, body };
      seen.push(one);
      response.setHeader('Relay-Request-Id', REQUEST_ID);
      void handler(one, response);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    seen,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

/** Answers with JSON. */
export function sendJson(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { 'Content-Type': status < 400 ? 'application/json' : 'application/problem+json' });
  response.end(JSON.stringify(body));
}

/** Answers with a problem document, which a HEAD gets in a header. */
export function sendProblem(response: ServerResponse, status: number, code: string, more: object = {}): void {
  const problem = { type: 'about:blank', title: code, status, detail: code, code, retryable: false, ...more };
  response.setHeader('Relay-Problem', JSON.stringify(problem));
  sendJson(response, status, problem);
}

/** Where a request stands, as the router tells it. */
export const statusOf = (state: string, more: object = {}): object => ({
  request_id: REQUEST_ID,
  state,
  bytes_done: 0,
  total_size: null,
  etag: null,
  digest: null,
  ...more,
});

export const digestOf = (bytes: Uint8Array | string): string =>
  `sha-256=:${createHash('sha256').update(bytes).digest('base64')}:`;

/** Bytes that no compression or repetition could make right by accident. */
export function makeBytes(length: number): Buffer {
  const bytes = Buffer.alloc(length);
  let state = 0x2545f491;
  for (let index = 0; index < length; index += 1) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    bytes[index] = state & 0xff;
  }
  return bytes;
}

/** All bytes of a body. */
export async function readAll(body: ReadableStream<Uint8Array>): Promise<Buffer> {
  const pieces: Uint8Array[] = [];
  for await (const piece of body as unknown as AsyncIterable<Uint8Array>) pieces.push(piece);
  return Buffer.concat(pieces);
}

/** What a promise fails with. */
export async function failureOf(
  work: Promise<unknown>,
): Promise<Error & { code?: string; retryable?: boolean; details?: object }> {
  try {
    await work;
  } catch (error) {
    return error as Error;
  }
  throw new Error('it did not fail');
}
