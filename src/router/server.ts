import http, { IncomingMessage, type ServerResponse } from 'node:http';
import https from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { rememberRawSocket, resetConnection } from '../http/connection.ts';
import type { Logger } from '../observability/logger.ts';
import { RelayError } from '../protocol/errors.ts';
import { endWithProblem } from './bare-answer.ts';
import { IdentifiedResponse } from './identified-response.ts';
import type { RefusalReason } from './limits/refusals.ts';
import type { LimitSettings } from './limits/settings.ts';

/**
 * Longer than what proxies and load balancers in front keep an idle connection for (Google's 600 s is the longest that is
 * fixed), which would otherwise race our close with their next request and answer it with 502.
 */
const KEEP_ALIVE_TIMEOUT_MS = 620_000;
/** How many connections may wait to be accepted (the system may allow fewer): a whole fleet comes back at once. */
const BACKLOG = 4096;
/** How often Node looks for heads that take too long, in ms. */
const CHECK_INTERVAL_MS = 2000;
/** How much a response may hold for an app that reads slowly before its connector is asked to wait. */
const HIGH_WATER_MARK_BYTES = 128 * 1024;

/** A certificate chain and its key, both PEM. */
export interface Certificate {
  readonly cert: string;
  readonly key: string;
}

export interface ServerOptions {
  readonly host: string;
  readonly port: number;
  /** The certificate as it is now; without it plain HTTP. Asked at each new connection. */
  readonly tls?: (() => Certificate) | undefined;
  readonly limits: Pick<LimitSettings, 'maxHeaderBytes' | 'handshakeTimeoutMs' | 'headersTimeoutMs'>;
  readonly logger: Logger;
  /** Makes the id of what cannot be read as a request. */
  readonly createId: () => string;
  /** Told of each connection before anything is read from it. */
  readonly onConnection: (socket: Socket) => void;
  /** Told of a connection that is ended before it has made a request. */
  readonly onRefused: (reason: RefusalReason, socket: Socket) => void;
  readonly onRequest: (request: IncomingMessage, response: IdentifiedResponse) => void;
  /** Which of the requests that name another protocol get it; the rest are requests like any other (RFC 9110 §7.8). */
  readonly isUpgrade: (request: IncomingMessage) => boolean;
  readonly onUpgrade: (request: IncomingMessage, socket: Socket, head: Buffer) => void;
}

type Settings = http.ServerOptions<typeof IncomingMessage, typeof IdentifiedResponse>;
type Server = http.Server<typeof IncomingMessage, typeof IdentifiedResponse>;
type SecureServer = https.Server<typeof IncomingMessage, typeof IdentifiedResponse>;

/** The listening HTTP or HTTPS server, and every connection that it has. */
export class HttpServer {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #secure: boolean;
  readonly #createId: () => string;
  readonly #logger: Logger;
  /** TLS sockets whose handshake is done. */
  readonly #established = new WeakSet<Socket>();

  private constructor(options: ServerOptions) {
    this.#secure = options.tls !== undefined;
    this.#createId = options.createId;
    this.#logger = options.logger;
    const settings: Settings = {
      ServerResponse: IdentifiedResponse,
      keepAliveTimeout: KEEP_ALIVE_TIMEOUT_MS,
      headersTimeout: options.limits.headersTimeoutMs,
      connectionsCheckingInterval: Math.min(CHECK_INTERVAL_MS, options.limits.headersTimeoutMs),
      maxHeaderSize: options.limits.maxHeaderBytes,
      // A transfer may take hours; what is silent is ended by the exchange that it belongs to.
      requestTimeout: 0,
      noDelay: true,
      highWaterMark: HIGH_WATER_MARK_BYTES,
      // Refused where all is, in words.
      requireHostHeader: false,
      // Node.js before 22.21 and 24.9 does not know it, and takes all for upgrades.
      shouldUpgradeCallback: options.isUpgrade,
    };
    this.#server =
      options.tls === undefined
        ? http.createServer(settings)
        : createSecureServer(
            { ...settings, handshakeTimeout: options.limits.handshakeTimeoutMs },
            options.tls,
            options.logger,
          );
    this.#server.on('connection', (socket: Socket) => {
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
      options.onConnection(socket);
    });
    if (this.#secure) this.#pairSecureSockets();
    this.#server.on('request', options.onRequest);
    this.#server.on('checkExpectation', options.onRequest);
    this.#server.on('connect', (_request, stream) => {
      const socket = stream as Socket;
      socket.on('error', () => {});
      this.#refuse(socket, { error: new RelayError('invalid_request', 'this is no proxy: there is no CONNECT here') });
    });
    this.#server.on('upgrade', options.onUpgrade);
    this.#server.on('clientError', (error: NodeJS.ErrnoException, stream) => {
      const socket = stream as Socket;
      const reason = REASONS[error.code ?? ''];
      if (reason !== undefined) options.onRefused(reason, socket);
      // Where no handshake was completed nothing can be said, and Node leaves the connection to whoever listens here.
      if (!socket.writable || error.code === 'ECONNRESET' || (this.#secure && !this.#established.has(socket))) {
        socket.destroy();
        return;
      }
      // As Node.js itself would: what is written now must not become a part of a response that has begun.
      const { _httpMessage: running } = socket as { _httpMessage?: ServerResponse | null };
      if (running?.headersSent === true) {
        resetConnection(socket);
        return;
      }
      this.#refuse(socket, explain(error));
    });
  }

  #refuse(socket: Socket, { error, status }: Unreadable): void {
    const identified = error.with({ request_id: this.#createId() });
    const facts = { code: error.code, request_id: identified.details.request_id, client: socket.remoteAddress };
    this.#logger.debug({ ...facts, detail: error.message }, 'refused');
    endWithProblem(socket, identified, status === undefined ? {} : { status });
  }

  /** Starts to listen. @throws {RelayError} usage when the address or the certificate cannot be used. */
  static async listen(options: ServerOptions): Promise<HttpServer> {
    const server = new HttpServer(options);
    await new Promise<void>((resolve, reject) => {
      server.#server.once('error', (cause: NodeJS.ErrnoException) => {
        const why = cause.code === 'EADDRINUSE' ? 'another program listens there already' : cause.message;
        reject(new RelayError('usage', `cannot listen on ${options.host}:${options.port}: ${why}`, { cause }));
      });
      server.#server.listen({ port: options.port, host: options.host, backlog: BACKLOG }, resolve);
    });
    return server;
  }

  /** Where it listens, as a URL. */
  get url(): string {
    const { address, port, family } = this.#server.address() as AddressInfo;
    const host = family === 'IPv6' ? `[${address}]` : address;
    return `${this.#secure ? 'https' : 'http'}://${host}:${port}`;
  }

  /** Ends every connection. Resolves when the last one is gone. */
  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => {
      this.#server.close(() => resolve());
    });
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  #pairSecureSockets(): void {
    const waiting = new Map<string, Socket>();
    this.#server.on('connection', (raw: Socket) => {
      const name = peerOf(raw);
      waiting.set(name, raw);
      raw.once('close', () => {
        if (waiting.get(name) === raw) waiting.delete(name);
      });
    });
    this.#server.on('secureConnection', (secure: Socket) => {
      this.#established.add(secure);
      const raw = waiting.get(peerOf(secure));
      if (raw !== undefined) rememberRawSocket(secure, raw);
      waiting.delete(peerOf(secure));
    });
  }
}

/** What an error that ended a connection early was refused for, where it was for a limit. */
const REASONS: Readonly<Record<string, RefusalReason>> = {
  ERR_TLS_HANDSHAKE_TIMEOUT: 'handshake_timeout',
  ERR_HTTP_REQUEST_TIMEOUT: 'headers_timeout',
  HPE_HEADER_OVERFLOW: 'header_size',
};

/** What cannot be read as a request, and the status for it where HTTP has one of its own. */
interface Unreadable {
  readonly error: RelayError;
  readonly status?: number;
}

function explain({ code, message }: NodeJS.ErrnoException): Unreadable {
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT')
    return { error: new RelayError('request_timeout', 'the head of the request did not come in time'), status: 408 };
  if (code === 'HPE_HEADER_OVERFLOW')
    return { error: new RelayError('invalid_request', 'the head of the request is too large'), status: 431 };
  return { error: new RelayError('invalid_request', `this is no request of HTTP: ${message}`) };
}

const peerOf = (socket: Socket): string => `${socket.remoteAddress}:${socket.remotePort}`;

/** @throws {RelayError} usage when certificate and key cannot be used. */
function createSecureServer(
  settings: https.ServerOptions<typeof IncomingMessage, typeof IdentifiedResponse>,
  readCertificate: () => Certificate,
  logger: Logger,
): SecureServer {
  let current = readCertificate();
  let refused: Certificate | undefined;
  let server: SecureServer;
  try {
    server = https.createServer({ ...settings, ...current });
  } catch (cause) {
    throw new RelayError('usage', `the certificate or its key cannot be used: ${(cause as Error).message}`, { cause });
  }
  const isSame = (one: Certificate, other: Certificate | undefined): boolean =>
    one.cert === other?.cert && one.key === other.key;
  // Before the server's own listener, so that the handshake of this very connection has the new one.
  server.prependListener('connection', () => {
    const found = readCertificate();
    if (isSame(found, current) || isSame(found, refused)) return;
    try {
      server.setSecureContext(found);
      current = found;
      logger.info('serving a new certificate');
    } catch (error) {
      // Of the two files one may not have been replaced yet.
      refused = found;
      logger.warn(
        { detail: (error as Error).message },
        'the new certificate cannot be used yet; the old one counts on',
      );
    }
  });
  return server;
}
