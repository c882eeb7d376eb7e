import type { ClientRequest, IncomingMessage } from 'node:http';
import { WebSocket } from 'ws';
import { FAR_MS } from '../../http/width.ts';
import { MAX_FRAME_BYTES } from '../../protocol/limits.ts';
import { SUBPROTOCOL } from '../../protocol/version.ts';
import { routerEndpoint } from '../router-client.ts';
import { onceConnected } from '../http/once-connected.ts';
import { toConnectError, toTimeout } from './connect-error.ts';
import { type Link, type LinkEnd, type LinkOptions, LOOKS, type OpenLink } from './link.ts';
import { readRefusal } from './refusal.ts';

const CLOSE_GRACE_MS = 2000;

/** What may wait for a slow line before results are sent otherwise, in bytes: heartbeats must not wait behind it for long. */
const MAX_UNSENT_BYTES = 64 * 1024;

/**
 * Opens a WebSocket (RFC 6455, subprotocol `relay.v1`). It counts as up only when a ping was answered, or something else
 * came from the router: a proxy may complete the handshake and then swallow every frame.
 */
export const openWebSocket: OpenLink = (options, signal) =>
  new Promise((resolve, reject) => {
    const url = routerEndpoint(options.routerUrl, `${options.path}/socket`);
    url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
    let wasConnected = false;
    const socket = new WebSocket(url, SUBPROTOCOL, {
      headers: { ...options.headers() },
      maxPayload: MAX_FRAME_BYTES,
      perMessageDeflate: false,
      followRedirects: false,
      agent: options.agents.forWebSocket(url),
      finishRequest: (request: ClientRequest) => {
        request.once('socket', (tcp) => {
          onceConnected(tcp, () => {
            wasConnected = true;
          });
        });
        request.end();
      },
    });
    const link = new WebSocketLink(socket, options);

    const settle = (finish: () => void): void => {
      clearTimeout(deadline);
      signal.removeEventListener('abort', abort);
      finish();
    };
    const fail = (error: unknown): void =>
      settle(() => {
        // Only a socket that is closed is gone.
        if (socket.readyState === WebSocket.CLOSED) reject(error);
        else socket.once('close', () => reject(error)).terminate();
      });
    const abort = (): void => fail(signal.reason);
    const deadline = setTimeout(
      () => fail(toTimeout(url.host, options.connectTimeoutMs, wasConnected)),
      options.connectTimeoutMs,
    );
    signal.addEventListener('abort', abort, { once: true });
    if (signal.aborted) abort();

    socket.on('unexpected-response', (_request, response: IncomingMessage) => {
      void readRefusal(response, 'a WebSocket', options.agents.chooseProxy(url)).then(fail);
    });
    socket.on('error', (error) => fail(toConnectError(error, url.host, wasConnected)));
    void link.closed.then(({ code, reason }) =>
      fail(toConnectError(new Error(`closed at once (${code ?? 'no code'}, ${reason})`), url.host, true)),
    );
    link.onceAlive(() => settle(() => resolve(link)));
  });

class WebSocketLink implements Link {
  readonly kind = 'websocket';
  readonly closed: Promise<LinkEnd>;
  readonly #socket: WebSocket;
  #ownReason: string | undefined;
  #isAlive: (() => void) | undefined;
  #heartbeat: NodeJS.Timeout | undefined;
  #deadline: NodeJS.Timeout | undefined;
  #closeTimer: NodeJS.Timeout | undefined;
  /** The last ping: an answer to one before it tells no time. */
  #ping = { id: 0, at: 0 };
  #onMeasured: ((ms: number) => void) | undefined;
  #looks = 0;
  roundTripMs: number | undefined;

  constructor(socket: WebSocket, options: LinkOptions) {
    this.#socket = socket;
    const alive = (): void => {
      this.#deadline?.refresh();
      this.#isAlive?.();
      this.#isAlive = undefined;
    };
    socket.on('open', () => {
      this.#sendPing();
      this.#heartbeat = setInterval(() => this.#sendPing(), options.heartbeatIntervalMs);
      this.#deadline = setTimeout(() => {
        this.#ownReason ??= `nothing heard for ${options.heartbeatTimeoutMs / 1000} s`;
        socket.terminate();
      }, options.heartbeatTimeoutMs);
    });
    socket.on('ping', alive);
    socket.on('pong', (data) => {
      alive();
      if (data.toString() !== String(this.#ping.id)) return;
      const ms = performance.now() - this.#ping.at;
      this.roundTripMs = Math.min(ms, this.roundTripMs ?? ms);
      this.#onMeasured?.(ms);
      // One may have waited for something else than the way.
      if (this.roundTripMs >= FAR_MS && ++this.#looks < LOOKS) this.#sendPing();
    });
    socket.on('message', (data, isBinary) => {
      alive();
      // Without fragments to join, ws gives one Buffer.
      if (!isBinary) options.onMessage((data as Buffer).toString('utf8'));
    });
    socket.on('error', (error) => {
      this.#ownReason ??= error.message;
    });
    this.closed = new Promise((resolve) => {
      socket.on('close', (code, reason) => {
        clearInterval(this.#heartbeat);
        clearTimeout(this.#deadline);
        clearTimeout(this.#closeTimer);
        const words = this.#ownReason ?? (reason.toString('utf8') || 'the connection was cut');
        resolve({ code: code === 1006 || code === 1005 ? undefined : code, reason: words });
      });
    });
  }

  /** Calls back at the first sign of life. */
  onceAlive(callback: () => void): void {
    this.#isAlive = callback;
  }

  measureRoundTrip(): Promise<number> {
    return new Promise((resolve) => {
      this.#onMeasured = resolve;
      if (this.#socket.readyState === WebSocket.OPEN) this.#sendPing();
    });
  }

  #sendPing(): void {
    this.#ping = { id: this.#ping.id + 1, at: performance.now() };
    this.#socket.ping(String(this.#ping.id));
  }

  sendResult(message: string | Buffer): boolean {
    if (this.#socket.readyState !== WebSocket.OPEN || this.#socket.bufferedAmount > MAX_UNSENT_BYTES) return false;
    this.#socket.send(message);
    return true;
  }

  sendDraining(): Promise<void> {
    if (this.#socket.readyState !== WebSocket.OPEN) return Promise.resolve();
    return new Promise((resolve) => this.#socket.send(JSON.stringify({ event: 'draining' }), () => resolve()));
  }

  close(reason: string): void {
    this.#ownReason ??= reason;
    this.#socket.close(1000, reason);
    this.#closeTimer = setTimeout(() => this.#socket.terminate(), CLOSE_GRACE_MS);
  }

  terminate(): void {
    this.#socket.terminate();
  }
}
