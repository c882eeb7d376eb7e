import { once } from 'node:events';
import http, { type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';

/** What a proxy does to bodies, in bytes. */
export interface Obstruction {
  /** Refuses longer ones with an HTML page and this status, having passed on nothing. */
  readonly refuseAbove?: number;
  /** Passes on so many bytes of longer ones, then gives up with 408. */
  readonly giveUpAfter?: number;
  /** Keeps longer ones to itself. */
  readonly swallowAbove?: number;
  /** Answers 502 to the first chunk that is no longer than this, without passing it on. */
  readonly failOnceBelow?: number;
}

/** A body that came, and what the proxy answered by itself, if anything. */
export interface SeenBody {
  readonly path: string;
  readonly length: number;
  readonly offset: string | undefined;
  readonly range: string | undefined;
  readonly verdict: 'passed' | 'refused' | 'given up' | 'swallowed' | 'failed';
}

/** A proxy between a connector and a router that does not let every body through. It knows no WebSockets. */
export class ObstructingProxy implements AsyncDisposable {
  readonly bodies: SeenBody[] = [];
  obstruction: Obstruction;
  readonly #server: http.Server;
  readonly #sockets = new Set<Socket>();
  readonly #target: URL;
  #failed = false;

  private constructor(target: URL, obstruction: Obstruction) {
    this.#target = target;
    this.obstruction = obstruction;
    this.#server = http.createServer((request, response) => this.#take(request, response));
    this.#server.on('connection', (socket) => {
      this.#sockets.add(socket);
      socket.on('error', () => {}).on('close', () => this.#sockets.delete(socket));
    });
  }

  static async to(target: string, obstruction: Obstruction): Promise<ObstructingProxy> {
    const proxy = new ObstructingProxy(new URL(target), obstruction);
    proxy.#server.listen(0, '127.0.0.1');
    await once(proxy.#server, 'listening');
    return proxy;
  }

  get url(): URL {
    return new URL(`http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/`);
  }

  /** The bodies with this verdict. */
  list(verdict: SeenBody['verdict']): SeenBody[] {
    return this.bodies.filter((body) => body.verdict === verdict);
  }

  /** Ends every connection. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    this.cut();
    await closed;
  }

  #take(request: IncomingMessage, response: ServerResponse): void {
    const length = Number(request.headers['content-length'] ?? 0);
    const verdict = this.#judge(length);
    const offset = request.headers['relay-offset'] as string | undefined;
    if (length > 0 || offset !== undefined) {
      const range = request.headers['content-range'];
      this.bodies.push({ path: String(request.url).replace(/\?.*/, ''), length, offset, range, verdict });
    }
    request.on('error', () => {});
    if (verdict === 'refused') refuse(request, response, 413);
    else if (verdict === 'failed') refuse(request, response, 502);
    else if (verdict === 'swallowed') request.resume();
    else this.#forward(request, response);
  }

  #judge(length: number): SeenBody['verdict'] {
    const {
      refuseAbove = Infinity,
      giveUpAfter = Infinity,
      swallowAbove = Infinity,
      failOnceBelow = 0,
    } = this.obstruction;
    if (length > refuseAbove) return 'refused';
    if (length > swallowAbove) return 'swallowed';
    if (length > giveUpAfter) return 'given up';
    if (!this.#failed && length > 100_000 && length <= failOnceBelow) {
      this.#failed = true;
      return 'failed';
    }
    return 'passed';
  }

  #forward(request: IncomingMessage, response: ServerResponse): void {
    const { hostname, port } = this.#target;
    const { method, url: path, headers } = request;
    const onward = http.request({ hostname, port, method, path, headers, agent: false });
    onward.on('error', () => response.destroy());
    onward.on('response', (answer) => {
      if (response.headersSent) return;
      response.writeHead(answer.statusCode ?? 0, answer.headers);
      answer.on('error', () => response.destroy());
      answer.pipe(response);
    });
    response.on('close', () => onward.destroy());
    const { giveUpAfter = Infinity } = this.obstruction;
    let passed = 0;
    request.on('data', (piece: Buffer) => {
      const room = giveUpAfter - passed;
      passed += piece.length;
      if (piece.length <= room) {
        if (!onward.write(piece)) request.pause();
        return;
      }
      request.removeAllListeners('data');
      onward.write(piece.subarray(0, room), () => {
        onward.destroy();
        refuse(request, response, 408);
      });
    });
    onward.on('drain', () => request.resume());
    request.on('end', () => onward.end());
  }
}

/** Answers with a page of HTML, and goes on reading for the answer to be seen. */
function refuse(request: IncomingMessage, response: ServerResponse, status: number): void {
  request.resume();
  const page = `<html><body><h1>${status}</h1><hr>proxy</body></html>`;
  response.writeHead(status, { 'Content-Type': 'text/html', 'Content-Length': page.length });
  response.end(page);
}
