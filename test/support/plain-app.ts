import { once } from 'node:events';
import http, { type ClientRequest, type IncomingHttpHeaders, type IncomingMessage } from 'node:http';
import net from 'node:net';
import { finished } from 'node:stream/promises';
import { MAC } from './plain-connector.ts';

/** What an app got. `error` is set where the body broke off. */
export interface AppAnswer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly bytes: Buffer;
  readonly trailers: NodeJS.Dict<string>;
  readonly error: Error | undefined;
  /** The body as JSON. */
  json(): Record<string, unknown>;
}

/** A request of an app that is under way. */
export interface AppCall {
  readonly request: ClientRequest;
  readonly answer: Promise<AppAnswer>;
  /** Resolves with the response once its headers are there. */
  readonly response: Promise<IncomingMessage>;
  /** Resolves with all that has come once it is at least `length` bytes. */
  received(length: number): Promise<string>;
}

/** POSTs `{mac, dataset}`, or what `body` says. */
export function ask(
  url: string,
  path: string,
  body: unknown = { mac: MAC, dataset: 'a.csv' },
  headers: http.OutgoingHttpHeaders = {},
): AppCall {
  const request = http.request(`${url}${path}`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', ...headers },
    agent: false,
  });
  const following = follow(request);
  request.end(typeof body === 'string' ? body : JSON.stringify(body));
  return following;
}

/** Any other request without a body. */
export function call(
  url: string,
  method: string,
  path: string,
  headers: http.OutgoingHttpHeaders = {},
): Promise<AppAnswer> {
  return begin(url, method, path, headers).answer;
}

/** The same, to be followed while it runs. */
export function begin(url: string, method: string, path: string, headers: http.OutgoingHttpHeaders = {}): AppCall {
  const request = http.request(`${url}${path}`, { method, headers, agent: false });
  const following = follow(request);
  request.end();
  return following;
}

function follow(request: ClientRequest): AppCall {
  const pieces: Buffer[] = [];
  let progress = Promise.withResolvers<void>();
  const response = once(request, 'response').then(([message]) => message as IncomingMessage);
  const answer = response.then(async (message): Promise<AppAnswer> => {
    message.on('data', (piece: Buffer) => {
      pieces.push(piece);
      progress.resolve();
      progress = Promise.withResolvers();
    });
    const error = await finished(message).then(
      () => undefined,
      (thrown: Error) => thrown,
    );
    const bytes = Buffer.concat(pieces);
    return {
      status: message.statusCode ?? 0,
      headers: message.headers,
      bytes,
      trailers: message.trailers,
      error,
      json: () => JSON.parse(bytes.toString()) as Record<string, unknown>,
    };
  });
  // Tests that cut their own request look at none of these; a connection that is reset also shows on the response.
  request.on('error', () => {});
  response.catch(() => {});
  answer.catch(() => {});
  const received = async (length: number): Promise<string> => {
    while (pieces.reduce((sum, piece) => sum + piece.length, 0) < length) await progress.promise;
    return Buffer.concat(pieces).toString();
  };
  return { request, response, answer, received };
}

/** Sends text over a bare socket and reads until its end. `reset` tells RST from FIN. */
export async function speak(url: string, text: string): Promise<{ text: string; reset: boolean }> {
  const { hostname, port } = new URL(url);
  const socket = net.connect(Number(port), hostname);
  let received = '';
  let reset = false;
  socket.on('data', (data) => {
    received += data.toString('latin1');
  });
  socket.on('error', (error: NodeJS.ErrnoException) => {
    reset = error.code === 'ECONNRESET';
  });
  socket.write(text);
  await once(socket, 'close').catch(() => {});
  if (!socket.closed) await new Promise((resolve) => socket.once('close', resolve));
  return { text: received, reset };
}
