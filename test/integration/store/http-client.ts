import { type ClientRequest, type IncomingMessage, request } from 'node:http';
import type { SignedRequest } from '../../../src/protocol/commands.ts';

/** An answer, read whole. */
export interface Answer {
  readonly status: number;
  readonly headers: Record<string, string | string[] | undefined>;
  readonly body: Buffer;
}

/** Uses a signed upload URL. @throws when the connection breaks. */
export function put({ url, headers }: Pick<SignedRequest, 'url' | 'headers'>, body: Buffer): Promise<Answer> {
  return send('PUT', url, { ...headers, 'content-length': String(body.length) }, body);
}

/** Makes a request and reads the whole answer, on a connection of its own. @throws when the connection breaks. */
export function send(
  method: string,
  url: string,
  headers: Record<string, string> = {},
  body?: Buffer,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const call = request(url, { method, headers, agent: false }, (response) => {
      readToEnd(response).then(
        (bytes) => resolve({ status: response.statusCode ?? 0, headers: response.headers, body: bytes }),
        reject,
      );
    });
    call.once('error', reject);
    call.end(body);
  });
}

/** Begins a PUT that says it has `length` bytes, and sends those of `body` only. The connection is up when it resolves. */
export async function beginPut(
  { url }: Pick<SignedRequest, 'url'>,
  length: number,
  body: Buffer,
): Promise<ClientRequest> {
  const call = request(url, { method: 'PUT', headers: { 'content-length': String(length) }, agent: false });
  // Whoever begins it is going to break it off.
  call.on('error', () => undefined);
  await new Promise<void>((resolve, reject) => {
    call.write(body, (error) => (error ? reject(error) : resolve()));
  });
  return call;
}

/** Resolves once a request is over, even when its connection was cut. */
export const whenClosed = (call: ClientRequest): Promise<void> =>
  new Promise((resolve) => {
    call.on('error', () => undefined).once('close', resolve);
  });

/** The body of a response. @throws when it breaks off. */
export async function readToEnd(response: IncomingMessage): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for await (const piece of response as AsyncIterable<Buffer>) pieces.push(piece);
  return Buffer.concat(pieces);
}
