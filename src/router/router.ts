import { randomBytes } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { join } from 'node:path';
import { rawSocketOf } from '../http/connection.ts';
import { RouterMetrics } from '../observability/metrics.ts';
import { withTrace } from '../observability/trace.ts';
import { RelayError } from '../protocol/errors.ts';
import { createRequestId } from '../protocol/request-id.ts';
import { parseTraceparent } from '../protocol/trace-context.ts';
import { Access } from './access/access.ts';
import { Cors } from './access/cors.ts';
import type { Grant } from './access/grant.ts';
import { BaseUrl } from './base-url.ts';
import { ForwardingReader } from './forwarding.ts';
import { clientAddress } from './client-address.ts';
import { AppLines } from './app-lines.ts';
import { BufferBudget } from './buffer-budget.ts';
import { ConnectorBook } from './connector-book.ts';
import type { Context } from './context.ts';
import { Dispatcher } from './dispatcher.ts';
import { Drain, drainingError } from './drain.ts';
import { Limits } from './limits/limits.ts';
import { Memory } from './memory.ts';
import { NodeLines } from './node-lines.ts';
import { LinkExpiry } from './links/expiry.ts';
import type { LinkEvents } from './links/link.ts';
import { SseLinks } from './links/sse.ts';
import { WebSocketLinks } from './links/websocket.ts';
import { OffloadStore } from './offload-store.ts';
import type { RouterOptions } from './options.ts';
import { Offloads } from './patterns/offloading.ts';
import { Registry } from './registry.ts';
import { sendError } from './reply.ts';
import { isExpectationMet, requireHost } from './request-head.ts';
import { RequestLog } from './request-log.ts';
import { reportEnd } from './request-report.ts';
import { openStateDir } from './state-dir.ts';
import { IdentifiedResponse } from './identified-response.ts';
import { InlineResults } from './results.ts';
import { answerRoutes } from './routes/answers.ts';
import { connectorRoutes } from './routes/connectors.ts';
import { datasetRoutes } from './routes/datasets.ts';
import { linkRoutes } from './routes/links.ts';
import { listingRoutes } from './routes/listings.ts';
import { withDescription } from './routes/openapi.ts';
import { operationRoutes } from './routes/operations.ts';
import { requestRoutes } from './routes/requests.ts';
import { admitMatch, isConnectorScope, loggedTarget, RouteTable, sideOf, splitTarget } from './routes/route.ts';
import { signRoutes } from './routes/sign.ts';
import { isSocketRequest, upgrade } from './routes/upgrade.ts';
import { HttpServer } from './server.ts';
import { WindowBudget } from './window.ts';

/** How long the last words to connectors may take, in ms. */
const FAREWELL_MS = 1000;

/** The router role: holds the links of connectors, and matches the requests of apps with what connectors send. */
export class Router {
  readonly #context: Context;
  readonly #cors: Cors;
  readonly #routes: RouteTable;
  readonly #sockets: WebSocketLinks;
  readonly #store: OffloadStore | undefined;
  readonly #expiry: LinkExpiry | undefined;
  readonly #book: ConnectorBook;
  readonly #drain: Drain;
  #server: HttpServer | undefined;
  /** Those that are being written and are no links. */
  readonly #responses = new Set<ServerResponse>();

  private constructor(options: RouterOptions, store: OffloadStore | undefined, book: ConnectorBook) {
    const { logger } = options;
    this.#cors = new Cors(options.corsOrigins);
    this.#store = store;
    this.#book = book;
    const forwarding = new ForwardingReader(options.trustedProxies);
    const addressOf = (request: IncomingMessage): string => clientAddress(request, forwarding);
    const registry = new Registry(logger, book);
    const limits = new Limits({
      settings: options.limits,
      addressOf,
      isTrustedProxy: (address) => forwarding.trusts(address),
      countRefusal: (reason) => metrics.countRefusal(reason),
      logger,
    });
    const dispatcher = new Dispatcher({
      registry,
      reconnectWaitMs: options.reconnectWaitMs,
      resumeWaitMs: options.resumeWaitMs,
      logger,
      maxPerConnector: options.limits.maxRequestsPerConnector,
      onRefused: (mac) => limits.refusals.note('requests_per_connector', { mac }),
      onEnd: () => this.#drain.changed(),
    });
    const budget = new BufferBudget(options.bufferTotalBytes, { onRefused: () => limits.refusals.note('memory') });
    const metrics = new RouterMetrics(options.version, {
      connectors: () => registry.count(),
      pending: () => dispatcher.size,
      buffered: () => budget.used,
      stored: () => store?.index.totalBytes ?? 0,
      connections: () => limits.connections.open,
      held: () => ({ app: limits.requests.count('app'), connector: limits.requests.count('connector') }),
    });
    const offloads = new Offloads(
      store && {
        store: store.store,
        index: store.index,
        ready: () => store.ready(),
        urlTtlMs: options.urlTtlMs,
        offloadOrigins: options.offloadOrigins,
        isChosen: options.isStoreChosen ?? false,
        logger,
      },
    );
    store?.watch(offloads);
    const baseUrl = new BaseUrl(options.publicUrl, forwarding);
    const requests = new RequestLog((record) => {
      reportEnd(record, metrics, logger);
      this.#drain.changed();
    });
    const windowBudget = new WindowBudget(options.windowTotalBytes);
    const state = { ready: true, draining: false };
    this.#drain = new Drain({
      state,
      registry,
      dispatcher,
      requests,
      isAnswering: () => this.#responses.size > 0,
      delayMs: options.drainDelayMs,
      graceMs: options.graceMs,
      logger,
    });
    this.#context = {
      options,
      routerId: randomBytes(4).toString('hex'),
      access: new Access({
        secrets: options.secrets,
        allowNoAuth: options.allowNoAuth,
        cors: this.#cors,
        originOf: (request) => URL.parse(baseUrl.of(request))?.origin ?? '',
        addressOf,
        findAsked: (fingerprint) => dispatcher.findAsked(fingerprint),
        countFailure: (reason) => metrics.countAuthFailure(reason),
        logger,
      }),
      baseUrl,
      forwarding,
      registry,
      dispatcher,
      requests,
      limits,
      appLines: new AppLines(addressOf),
      nodeLines: new NodeLines(),
      memory: new Memory({ window: windowBudget }),
      budget,
      windowBudget,
      offloads,
      metrics,
      state,
    };
    const results = new InlineResults({ dispatcher, access: this.#context.access });
    const events: LinkEvents & { heartbeatIntervalMs: number; heartbeatTimeoutMs: number } = {
      heartbeatIntervalMs: options.heartbeatIntervalMs,
      heartbeatTimeoutMs: options.heartbeatTimeoutMs,
      alive: (link) => registry.touch(link),
      answered: (link, result) => results.take(link, result),
      refused: (link, reason) => limits.refusals.note(reason, { mac: link.hello.mac, remote: link.hello.remote }),
      draining: (link) => registry.drain(link),
      closed: (link, end, reason) => {
        metrics.countLinkClosed(link.kind, end);
        registry.disconnect(link, reason);
      },
    };
    if (options.secrets !== undefined) {
      const { access } = this.#context;
      this.#expiry = new LinkExpiry({
        links: () => registry.links(),
        stillHolds: (grant) => access.stillHolds(grant),
        logger,
      });
    }
    this.#sockets = new WebSocketLinks(events);
    const routes = withDescription([
      ...requestRoutes,
      ...signRoutes,
      ...answerRoutes,
      ...linkRoutes(new SseLinks(events)),
      ...connectorRoutes,
      // A name with a slash at its end is a directory's.
      ...listingRoutes,
      ...datasetRoutes,
      ...operationRoutes,
    ]);
    this.#routes = new RouteTable(routes);
  }

  /**
   * Opens the state directory and the store, and listens.
   * @throws {RelayError} usage when an option cannot be used as it is (an address in use, a directory that cannot be written).
   */
  static async start(options: RouterOptions): Promise<Router> {
    openStateDir(options.stateDir);
    const book = new ConnectorBook({ path: join(options.stateDir, 'connectors.db'), logger: options.logger });
    let store: OffloadStore | undefined;
    let router: Router;
    try {
      store = await OffloadStore.open(options);
      router = new Router(options, store, book);
      router.#server = await HttpServer.listen({
        host: options.host,
        port: options.port,
        tls: options.tls,
        limits: options.limits,
        onConnection: (socket) => router.#context.limits.connections.add(socket),
        onRefused: (reason, socket) => router.#context.limits.refusals.note(reason, { remote: socket.remoteAddress }),
        logger: options.logger,
        createId: () => createRequestId(router.#context.routerId),
        onRequest: (request, response) => {
          const { traceparent } = request.headers;
          const trace = typeof traceparent === 'string' ? parseTraceparent(traceparent) : undefined;
          withTrace(trace, () => void router.#handle(request, response));
        },
        isUpgrade: (request) => isSocketRequest(router.#context, request),
        onUpgrade: (request, socket, head) => void upgrade(router.#context, router.#sockets, request, socket, head),
      });
    } catch (error) {
      book.close();
      await store?.close();
      throw error;
    }
    if (options.secrets === undefined) {
      options.logger.warn(
        options.allowNoAuth
          ? 'no secret, and --insecure-no-auth: whoever reaches the port reads every dataset and can pose as any node'
          : 'no secret: only this machine is answered. A proxy on it that sends no forwarding header, as nginx at its ' +
              'defaults does, would let in whoever reaches it; set RELAY_SECRET or --secret-file before putting one in front',
      );
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

  /**
   * Goes down in good order: is not ready at once, takes no new request after `drainDelayMs`, finishes those that run within
   * `graceMs`, then closes. A second call does nothing.
   */
  async drain(): Promise<void> {
    if (!this.#context.state.ready) return;
    await this.#drain.run();
    await this.close();
  }

  /** Ends everything at once. Resolves when sockets, files and timers are gone. */
  async close(): Promise<void> {
    const { access, state, registry, dispatcher, offloads, options } = this.#context;
    state.ready = false;
    state.draining = true;
    access.close();
    this.#expiry?.close();
    this.#drain.abort();
    dispatcher.failAll(drainingError(options.graceMs));
    await registry.sendAllAway(FAREWELL_MS);
    this.#sockets.close();
    await this.#server?.close();
    await offloads.close();
    await this.#store?.close();
    this.#book.close();
    options.logger.info('router closed');
  }

  async #handle(request: IncomingMessage, response: IdentifiedResponse): Promise<void> {
    const { access, baseUrl, forwarding, limits, options, state } = this.#context;
    this.#track(response);
    response.cors = this.#cors.headersFor(request);
    limits.endLeftover(request, response);
    // Node.js loses what came in one piece with a request whose upgrade it ignores, so nothing may be expected to follow.
    if (request.headers.upgrade !== undefined) response.shouldKeepAlive = false;
    // Whatever is answered, whoever asks can name it.
    const id = createRequestId(this.#context.routerId);
    response.requestId = id;
    let grant: Grant | undefined;
    // An error on a request or a response is also a close, which those who care listen to.
    request.on('error', () => {});
    response.on('error', () => {});
    try {
      this.#checkConnection(request, response);
      if (!isExpectationMet(request)) {
        const error = new RelayError('invalid_request', `the expectation ${request.headers.expect} cannot be met`);
        sendError(request, response, error, {}, 417);
        return;
      }
      requireHost(request, response);
      limits.checkHead(request);
      const preflight = access.answerPreflight(request);
      if (preflight !== undefined) {
        response.writeHead(204, preflight).end();
        return;
      }
      const { path: rawPath, query } = splitTarget(request.url);
      const path = baseUrl.strip(rawPath, request);
      if (this.#store?.serves(path)) {
        grant = await access.admit(request, 'signed');
        if (request.method === 'PUT') response.requestId = undefined;
        limits.admit(request.method === 'PUT' ? 'connector' : 'app', request, response, grant);
        const pace = limits.paceOf(request, grant.tokenId);
        await this.#store.serve(request, response, query === '' ? path : `${path}?${query}`, {
          pace,
          requestId: response.requestId,
        });
        return;
      }
      const match = this.#routes.find(request.method ?? 'GET', path);
      // A connector's POST belongs to the request that it answers, which its body names.
      const isConnector = match.kind === 'route' && isConnectorScope(match.route.scope);
      if (isConnector) response.requestId = undefined;
      // Apps, and the proxies before them, open their next connection to a router that stays. A connector's next POST belongs here.
      if (!isConnector && !state.ready) response.shouldKeepAlive = false;
      if (match.kind === 'route' && match.route.isLink === true) this.#responses.delete(response);
      const parameters = new URLSearchParams(query);
      grant = await admitMatch(access, request, match, parameters);
      if (match.kind === 'none') throw new RelayError('not_found', `there is nothing at ${path}`);
      if (match.kind === 'wrong_method' && request.method === 'OPTIONS') {
        response.writeHead(204, { Allow: match.allow }).end();
        return;
      }
      if (match.kind === 'wrong_method') {
        const error = new RelayError('method_not_allowed', `${request.method} is not allowed here, but ${match.allow}`);
        sendError(request, response, error, { Allow: match.allow });
        return;
      }
      const side = sideOf(match.route);
      const slot = side && limits.admit(side, request, response, grant);
      await match.route.handle(this.#context, {
        request,
        response,
        params: match.params,
        query: parameters,
        id,
        grant,
        slot,
      });
    } catch (thrown) {
      const error = RelayError.from(thrown);
      if (error.code === 'forbidden') access.noteForbidden(request, grant);
      if (error.code === 'internal')
        options.logger.error(
          { err: thrown, request_id: response.requestId, method: request.method, url: loggedTarget(request.url) },
          'a defect',
        );
      else
        options.logger.debug(
          {
            code: error.code,
            request_id: response.requestId,
            method: request.method,
            url: loggedTarget(request.url),
            client: clientAddress(request, forwarding),
            detail: error.message,
          },
          'refused',
        );
      sendError(request, response, error);
    }
  }

  /** @throws {RelayError} too_many_requests, overloaded when it came on a connection beyond the limits, which ends with it. */
  #checkConnection(request: IncomingMessage, response: ServerResponse): void {
    try {
      this.#context.limits.connections.check(rawSocketOf(request.socket));
    } catch (error) {
      response.shouldKeepAlive = false;
      throw error;
    }
  }

  #track(response: ServerResponse): void {
    this.#responses.add(response);
    response.once('close', () => {
      this.#responses.delete(response);
      this.#drain.changed();
    });
  }
}
