import { randomBytes } from 'node:crypto';
import { chmodSync, mkdirSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { PROBLEM_TYPE, toProblem } from '../http/problem.ts';
import { RouterMetrics } from '../observability/metrics.ts';
import { CLOSE } from '../protocol/close-codes.ts';
import { RelayError } from '../protocol/errors.ts';
import { HEADER } from '../protocol/headers.ts';
import { parseMac } from '../protocol/mac.ts';
import { createRequestId } from '../protocol/request-id.ts';
import { Access } from './access.ts';
import { BaseUrl } from './base-url.ts';
import { ForwardingReader } from './forwarding.ts';
import { clientAddress, describeClient } from './client-address.ts';
import { BufferBudget } from './buffer-budget.ts';
import type { Context } from './context.ts';
import { Dispatcher } from './dispatcher.ts';
import { readHello } from './links/hello.ts';
import type { Link, LinkEvents } from './links/link.ts';
import { SseLinks } from './links/sse.ts';
import { WebSocketLinks } from './links/websocket.ts';
import { OffloadStore } from './offload-store.ts';
import type { RouterOptions } from './options.ts';
import { Offloads } from './patterns/offloading.ts';
import { Registry } from './registry.ts';
import { sendError } from './reply.ts';
import { RequestLog, type RequestRecord } from './request-log.ts';
import { answerRoutes } from './routes/answers.ts';
import { connectorRoutes } from './routes/connectors.ts';
import { linkRoutes, refuseWhileDraining } from './routes/links.ts';
import { operationRoutes } from './routes/operations.ts';
import { requestRoutes } from './routes/requests.ts';
import { RouteTable } from './routes/route.ts';
import { HttpServer } from './server.ts';

const SOCKET_PATH = /^\/connectors\/([^/]+)\/socket$/;

/** The router role: holds the links of connectors, and matches the requests of apps with what connectors send. */
export class Router {
  readonly #context: Context;
  readonly #routes: RouteTable;
  readonly #sockets: WebSocketLinks;
  readonly #store: OffloadStore | undefined;
  #server: HttpServer | undefined;
  /** Responses that are not links: what a graceful end waits for. */
  readonly #responses = new Set<ServerResponse>();
  #responseEnded: (() => void) | undefined;

  private constructor(options: RouterOptions, store: OffloadStore | undefined) {
    const { logger } = options;
    this.#store = store;
    const forwarding = new ForwardingReader(options.trustedProxies);
    const registry = new Registry(logger);
    const dispatcher = new Dispatcher({ registry, reconnectWaitMs: options.reconnectWaitMs, logger });
    const budget = new BufferBudget(options.bufferTotalBytes);
    const metrics = new RouterMetrics(options.version, {
      connectors: () => registry.count(),
      pending: () => dispatcher.size,
      buffered: () => budget.used,
    });
    const offloads = new Offloads(
      store && {
        store: store.store,
        index: store.index,
        ready: () => store.ready(),
        urlTtlMs: options.urlTtlMs,
        offloadOrigins: options.offloadOrigins,
        logger,
      },
    );
    store?.watch(offloads);
    this.#context = {
      options,
      routerId: randomBytes(4).toString('hex'),
      access: new Access({ publicOrigin: options.publicUrl?.origin, allowNoAuth: options.allowNoAuth }),
      baseUrl: new BaseUrl(options.publicUrl, forwarding),
      forwarding,
      registry,
      dispatcher,
      requests: new RequestLog((record) => this.#noteEnd(record)),
      budget,
      offloads,
      metrics,
      state: { draining: false },
    };
    const events: LinkEvents & { heartbeatIntervalMs: number; heartbeatTimeoutMs: number } = {
      heartbeatIntervalMs: options.heartbeatIntervalMs,
      heartbeatTimeoutMs: options.heartbeatTimeoutMs,
      alive: (link) => registry.touch(link),
      draining: (link) => registry.drain(link),
      closed: (link: Link, reason: string) => {
        metrics.countLinkClosed(link.kind);
        registry.disconnect(link, reason);
      },
    };
    this.#sockets = new WebSocketLinks(events);
    this.#routes = new RouteTable([
      ...requestRoutes,
      ...answerRoutes,
      ...linkRoutes(new SseLinks(events)),
      ...connectorRoutes,
      ...operationRoutes,
    ]);
  }

  /**
   * Opens the state directory and the store, and listens.
   * @throws {RelayError} usage when an option cannot be used as it is (an address in use, a directory that cannot be written).
   */
  static async start(options: RouterOptions): Promise<Router> {
    openStateDir(options.stateDir);
    const store = await OffloadStore.open(options);
    const router = new Router(options, store);
    try {
      router.#server = await HttpServer.listen({
        host: options.host,
        port: options.port,
        tls: options.tls,
        onRequest: (request, response) => void router.#handle(request, response),
        onUpgrade: (request, socket, head) => router.#upgrade(request, socket, head),
      });
    } catch (error) {
      await store?.close();
      throw error;
    }
    options.logger.info(
      { url: router.url, router_id: router.#context.routerId, store: options.storeLocation.kind },
      `router listening on ${router.url}`,
    );
    return router;
  }

  /** Where it listens, as a URL. */
  get url(): string {
    return (this.#server as HttpServer).url;
  }

  /** Goes down gracefully: takes no new request, finishes those that run within `graceMs`, then closes. */
  async drain(): Promise<void> {
    const { state, options } = this.#context;
    if (state.draining) return;
    state.draining = true;
    options.logger.info({ running: this.#responses.size }, 'draining');
    let timer: NodeJS.Timeout | undefined;
    const grace = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, options.graceMs);
    });
    await Promise.race([this.#whenQuiet(), grace]);
    clearTimeout(timer);
    await this.close();
  }

  /** Ends everything at once. Resolves when sockets, files and timers are gone. */
  async close(): Promise<void> {
    const { state, registry, dispatcher, offloads, options } = this.#context;
    state.draining = true;
    dispatcher.failAll(
      new RelayError('draining', 'the router is going down; try again', { details: { retry_after: 5 } }),
    );
    for (const link of registry.links()) link.close(CLOSE.draining, 'the router is going down');
    this.#sockets.close();
    await this.#server?.close();
    await offloads.close();
    await this.#store?.close();
    options.logger.info('router closed');
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { access, baseUrl, forwarding, options } = this.#context;
    this.#track(response);
    // An error on a request or a response is also a close, which those who care listen to.
    request.on('error', () => {});
    response.on('error', () => {});
    try {
      const target = request.url ?? '/';
      const [rawPath, search = ''] = splitOnce(target, '?');
      const path = baseUrl.strip(rawPath, request);
      if (this.#store?.serves(path)) {
        access.check(request, 'signed');
        await this.#store.serve(request, response, search === '' ? path : `${path}?${search}`);
        return;
      }
      const id = createRequestId(this.#context.routerId);
      response.setHeader(HEADER.requestId, id);
      const match = this.#routes.find(request.method ?? 'GET', path);
      // A connector's POST belongs to the request that it answers, which its body names.
      if (match.kind === 'route' && match.route.scope === 'connector') response.removeHeader(HEADER.requestId);
      access.check(request, match.kind === 'route' ? match.route.scope : 'app');
      if (match.kind === 'none') throw new RelayError('not_found', `there is nothing at ${path}`);
      if (match.kind === 'wrong_method') {
        const error = new RelayError('method_not_allowed', `${request.method} is not allowed here, but ${match.allow}`);
        sendError(request, response, error, { Allow: match.allow });
        return;
      }
      await match.route.handle(this.#context, {
        request,
        response,
        params: match.params,
        query: new URLSearchParams(search),
        id,
      });
    } catch (thrown) {
      const error = RelayError.from(thrown);
      if (error.code === 'internal')
        options.logger.error({ err: thrown, method: request.method, url: request.url }, 'a defect');
      else
        options.logger.debug(
          {
            code: error.code,
            method: request.method,
            url: request.url,
            client: clientAddress(request, forwarding),
            detail: error.message,
          },
          'refused',
        );
      sendError(request, response, error);
    }
  }

  #upgrade(request: IncomingMessage, socket: Socket, head: Buffer): void {
    const { access, baseUrl, forwarding, registry, options } = this.#context;
    socket.on('error', () => {});
    try {
      const [rawPath, search = ''] = splitOnce(request.url ?? '/', '?');
      access.check(request, 'connector');
      const match = SOCKET_PATH.exec(baseUrl.strip(rawPath, request));
      if (match === null || request.headers.upgrade?.toLowerCase() !== 'websocket') {
        throw new RelayError('not_found', 'there is no WebSocket here');
      }
      refuseWhileDraining(this.#context);
      const mac = parseMac(decodePart(match[1] ?? ''));
      if (mac instanceof RelayError) throw mac;
      const remote = describeClient(request, forwarding);
      const hello = readHello(request, mac, new URLSearchParams(search), baseUrl.of(request), remote);
      this.#sockets.accept(request, socket, head, hello, (link) => registry.connect(link));
    } catch (thrown) {
      const error = RelayError.from(thrown);
      if (error.code === 'internal') options.logger.error({ err: thrown, url: request.url }, 'a defect');
      refuseUpgrade(socket, error);
    }
  }

  #track(response: ServerResponse): void {
    this.#responses.add(response);
    response.once('close', () => {
      this.#responses.delete(response);
      this.#responseEnded?.();
    });
  }

  /** Resolves when no command waits for its answer and nothing but links is being answered. */
  async #whenQuiet(): Promise<void> {
    const { dispatcher } = this.#context;
    await dispatcher.whenIdle();
    const running = (): boolean =>
      [...this.#responses].some((response) => response.getHeader('Content-Type') !== 'text/event-stream');
    while (running()) {
      await new Promise<void>((resolve) => {
        this.#responseEnded = resolve;
      });
    }
  }

  #noteEnd(record: RequestRecord): void {
    const { metrics, options } = this.#context;
    const ms = Math.round(performance.now() - record.startedAt);
    const bytes = record.progress().bytesDone;
    const code = record.error?.code ?? 'ok';
    metrics.countRequest(record.kind, code, ms / 1000, bytes);
    const line = {
      request_id: record.id,
      mac: record.mac,
      dataset: record.dataset,
      pattern: record.kind,
      code,
      bytes,
      ms,
    };
    if (record.error === undefined) options.logger.info(line, 'request done');
    else options.logger.warn({ ...line, detail: record.error.message }, 'request failed');
  }
}

function splitOnce(text: string, separator: string): [string, string?] {
  const at = text.indexOf(separator);
  return at < 0 ? [text] : [text.slice(0, at), text.slice(at + 1)];
}

function decodePart(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

function openStateDir(directory: string): void {
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    chmodSync(directory, 0o700);
  } catch (cause) {
    throw new RelayError('usage', `cannot use the state directory ${directory}: ${(cause as Error).message}`, {
      cause,
    });
  }
}

function refuseUpgrade(socket: Socket, error: RelayError): void {
  const text = JSON.stringify(toProblem(error));
  socket.end(
    `HTTP/1.1 ${error.status} ${error.code}\r\nConnection: close\r\nUpgrade: websocket\r\nContent-Type: ${PROBLEM_TYPE}\r\nContent-Length: ${Buffer.byteLength(text)}\r\n\r\n${text}`,
  );
}
