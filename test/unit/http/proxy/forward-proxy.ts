import { once } from 'node:events';
import http, { type IncomingMessage, type RequestListener } from 'node:http';
import https from 'node:https';
import { type AddressInfo, connect, type Socket } from 'node:net';

/** What a proxy of a test was asked: the request line, and the credentials. */
export interface ProxyRequest {
  readonly line: string;
  readonly authorization: string | undefined;
}

/** A forward proxy, reached by TLS where it is given a certificate. It ends with the scope. */
export class ForwardProxy implements AsyncDisposable {
  readonly requests: ProxyRequest[] = [];
  /** What it answers in place of doing its work; 0 for nothing at all. */
  refusal: number | undefined;
  readonly #server: http.Server;
  readonly #sockets = new Set<Socket>();
  #asked = Promise.withResolvers<void>();
  #closed = Promise.withResolvers<void>();

  private constructor(tls: { readonly cert: Buffer; readonly key: Buffer } | undefined) {
    const handle: RequestListener = (request, response) => {
      if (this.#note(request) !== undefined) {
        response.writeHead(this.refusal ?? 0).end();
        return;
      }
      const { url = '', method, headers } = request;
      const onward = http.request(url, { method, headers, agent: false }, (answer) => {
        response.writeHead(answer.statusCode ?? 0, answer.headers);
        answer.pipe(response);
      });
      request.pipe(onward);
    };
    this.#server = tls === undefined ? http.createServer(handle) : https.createServer(tls, handle);
    this.#server.on('connection', (socket: Socket) => this.#sockets.add(socket));
    this.#server.on('connect', (request, near, head) => {
      near.on('error', () => {});
      near.on('close', () => this.#closed.resolve());
      const refusal = this.#note(request);
      if (refusal === 0) {
        // A server's sockets stay half open.
        near.on('end', () => near.end()).resume();
        return;
      }
      if (refusal !== undefined) {
        near.end(`HTTP/1.1 ${refusal} No\r\nContent-Length: 0\r\n\r\n`);
        return;
      }
      const { hostname, port } = new URL(`tcp://${request.url}`);
      const far = connect(Number(port), hostname.replace(/^\[(.*)\]$/, '$1'), () => {
        near.write('HTTP/1.1 200 Connection established\r\n\r\n');
        far.write(head);
        near.pipe(far).pipe(near);
      });
      this.#sockets.add(far);
      far.on('error', () => near.destroy());
    });
  }

  static async start(tls?: { readonly cert: Buffer; readonly key: Buffer }): Promise<ForwardProxy> {
    const proxy = new ForwardProxy(tls);
    proxy.#server.listen(0, '127.0.0.1');
    await once(proxy.#server, 'listening');
    return proxy;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** Resolves when it was asked for something. */
  get asked(): Promise<void> {
    return this.#asked.promise;
  }

  /** Resolves when a connection that asked for a tunnel is gone. */
  get closed(): Promise<void> {
    return this.#closed.promise;
  }

  #note({ method, url, headers }: IncomingMessage): number | undefined {
    this.requests.push({ line: `${method} ${url}`, authorization: headers['proxy-authorization'] });
    this.#asked.resolve();
    return this.refusal;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
