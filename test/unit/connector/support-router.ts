import { once } from 'node:events';
import http, { type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { WebSocketServer } from 'ws';

/** A link as the router's side sees it. */
export interface FakeLink {
  readonly kind: 'websocket' | 'sse';
  readonly request: IncomingMessage;
  send(command: object): void;
  /** Writes to the stream as it is (SSE only). */
  readonly write: (text: string) => void;
  close(code: number, reason: string): void;
  cut(): void;
  readonly closed: Promise<unknown>;
  /** Messages of the connector's on this link (WebSocket only); of binary ones each byte is a character. */
  readonly messages: string[];
}

/** A POST or PUT of the connector's. Its body is read only when `body` or `json` is called. */
export class FakePost {
  readonly path: string;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  constructor(request: IncomingMessage, response: ServerResponse, path: string) {
    this.request = request;
    this.response = response;
    this.path = path;
  }
  header(name: string): string | undefined {
    return this.request.headers[name.toLowerCase()] as string | undefined;
  }
  async body(): Promise<Buffer> {
    const pieces: Buffer[] = [];
    for await (const piece of this.request) pieces.push(piece as Buffer);
    return Buffer.concat(pieces);
  }
  async json(): Promise<Record<string, unknown>> {
    return JSON.parse((await this.body()).toString('utf8')) as Record<string, unknown>;
  }
  reply(status: number, body: object | string = {}, headers: http.OutgoingHttpHeaders = {}): void {
    const text = typeof body === 'string' ? body : JSON.stringify(body);
    const type = status >= 400 ? 'application/problem+json' : 'application/json';
    this.response.writeHead(status, { 'Content-Type': type, 'Content-Length': Buffer.byteLength(text), ...headers });
    this.response.end(text);
  }
}

export interface FakeRouterOptions {
  port?: number;
  prefix?: string;
  /** What becomes of an upgrade: accepted; any other answer; the connection dropped; accepted and then ignored. */
  upgrade?: 'accept' | 'drop' | 'swallow' | { status: number; body?: object };
  events?: 'accept' | 'hold' | { status: number; body?: object };
  heartbeat?: number;
}

/** The router's side of the contract, as far as a test tells it to. */
export class FakeRouter implements AsyncDisposable {
  options: FakeRouterOptions;
  readonly server: http.Server;
  readonly #websockets = new WebSocketServer({ noServer: true, handleProtocols: () => 'relay.v1' });
  readonly #sockets = new Set<Socket>();
  readonly #links = new Queue<FakeLink>();
  readonly #posts = new Queue<FakePost>();
  readonly heartbeats: { linkId: string | undefined; body: string }[] = [];
  /** Every connection that was ever made. */
  connections = 0;
  upgrades = 0;
  streams = 0;

  private constructor(options: FakeRouterOptions) {
    this.options = options;
    this.server = http.createServer((request, response) => this.#handle(request, response));
    this.server.on('upgrade', (request, socket, head) => this.#upgrade(request, socket, head));
    this.server.on('connection', (socket) => {
      this.connections++;
      this.#sockets.add(socket);
      socket.on('close', () => this.#sockets.delete(socket));
      socket.on('error', () => {});
    });
  }

  static async start(options: FakeRouterOptions = {}): Promise<FakeRouter> {
    const router = new FakeRouter(options);
    router.server.listen(options.port ?? 0, '127.0.0.1');
    await once(router.server, 'listening');
    return router;
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  get url(): URL {
    return new URL(`http://127.0.0.1:${this.port}${this.options.prefix ?? ''}/`);
  }

  get openSockets(): number {
    return this.#sockets.size;
  }

  nextLink(): Promise<FakeLink> {
    return this.#links.take();
  }

  /** The next POST or PUT that no earlier call took. */
  nextPost(): Promise<FakePost> {
    return this.#posts.take();
  }

  get waitingPosts(): number {
    return this.#posts.size;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.server, 'close');
    this.server.close();
    for (const socket of this.#sockets) socket.destroy();
    this.#websockets.close();
    await closed;
  }

  #handle(request: IncomingMessage, response: ServerResponse): void {
    const { prefix = '' } = this.options;
    const path = (request.url as string).slice(prefix.length + 1).split('?')[0] as string;
    if (request.method === 'GET' && path.endsWith('/events')) this.#openStream(request, response);
    else if (path.endsWith('/heartbeat')) void this.#takeHeartbeat(new FakePost(request, response, path));
    else if (request.method === 'GET') new FakePost(request, response, path).reply(404, '<html>nothing here');
    else this.#posts.put(new FakePost(request, response, path));
  }

  async #takeHeartbeat(post: FakePost): Promise<void> {
    this.heartbeats.push({ linkId: post.header('Relay-Link-Id'), body: (await post.body()).toString() });
    const status = this.options.heartbeat ?? 204;
    if (status === 204) post.response.writeHead(204).end();
    else post.reply(status, problem('request_gone'));
  }

  #openStream(request: IncomingMessage, response: ServerResponse): void {
    this.streams++;
    const how = this.options.events ?? 'accept';
    if (typeof how === 'object') {
      new FakePost(request, response, '').reply(how.status, how.body ?? '<html>no');
      return;
    }
    response.writeHead(200, { 'Content-Type': 'text/event-stream', 'Relay-Link-Id': `link-${this.streams}` });
    response.flushHeaders();
    if (how === 'hold') return;
    response.write(': connected\n\n');
    const keepAlive = setInterval(() => response.write(': keep-alive\n\n'), 50);
    response.once('close', () => clearInterval(keepAlive));
    this.#links.put({
      kind: 'sse',
      request,
      messages: [],
      write: (text) => {
        // A comment must not land in the midst of what the test writes piece by piece.
        clearInterval(keepAlive);
        response.write(text);
      },
      send: (command) => response.write(`id: 1\ndata: ${JSON.stringify(command)}\n\n`),
      close: (code, reason) => response.end(`event: close\ndata: ${JSON.stringify({ code, reason })}\n\n`),
      cut: () => request.socket.destroy(),
      closed: once(response, 'close'),
    });
  }

  #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    this.upgrades++;
    const how = this.options.upgrade ?? 'accept';
    if (how === 'drop') {
      socket.destroy();
      return;
    }
    if (typeof how === 'object') {
      const body = how.body === undefined ? '<html>no' : JSON.stringify(how.body);
      socket.end(
        `HTTP/1.1 ${how.status} No\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
      );
      return;
    }
    this.#websockets.handleUpgrade(request, socket, head, (peer) => {
      peer.on('error', () => {});
      if (how === 'swallow') {
        // What comes is read and dropped, as by a proxy that knows no frames.
        socket.removeAllListeners('data');
        socket.on('data', () => {});
        return;
      }
      const messages: string[] = [];
      peer.on('message', (data: Buffer, isBinary) => messages.push(data.toString(isBinary ? 'latin1' : 'utf8')));
      this.#links.put({
        kind: 'websocket',
        request,
        messages,
        write: () => {},
        send: (command) => peer.send(JSON.stringify(command)),
        close: (code, reason) => peer.close(code, reason),
        cut: () => socket.destroy(),
        closed: once(peer, 'close'),
      });
    });
  }
}

/** A problem document. */
export const problem = (code: string, more: object = {}): object => ({ code, title: code, retryable: false, ...more });

/** Values that come before they are asked for, or after. */
class Queue<T> {
  readonly #values: T[] = [];
  readonly #waiting: ((value: T) => void)[] = [];

  get size(): number {
    return this.#values.length;
  }

  put(value: T): void {
    const waiting = this.#waiting.shift();
    if (waiting === undefined) this.#values.push(value);
    else waiting(value);
  }

  take(): Promise<T> {
    const value = this.#values.shift();
    if (value !== undefined) return Promise.resolve(value);
    return new Promise((resolve) => this.#waiting.push(resolve));
  }
}
