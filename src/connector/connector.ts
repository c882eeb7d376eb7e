import { randomUUID } from 'node:crypto';
import { EventEmitter } from 'node:events';
import { decodeIncoming } from '../protocol/commands.ts';
import { RelayError } from '../protocol/errors.ts';
import { Arrivals } from './arrivals.ts';
import { Authorization } from './authorization.ts';
import { type Clock, systemClock } from './clock.ts';
import { Codings } from './coding/codings.ts';
import { LineRate } from '../http/line-rate.ts';
import { DataDir } from './datasets/data-dir.ts';
import { Digests } from './datasets/digests.ts';
import { Pace } from '../http/pace.ts';
import { createTrust } from '../http/trust.ts';
import { createAgents } from './http/agents.ts';
import { Backoff } from './link/backoff.ts';
import { TransportChooser } from './link/choose-transport.ts';
import { formatHello } from './link/hello.ts';
import type { Link, LinkKind, LinkOptions } from './link/link.ts';
import { keepConnected } from './link/reconnect.ts';
import { openEventStream } from './link/sse.ts';
import { openWebSocket } from './link/websocket.ts';
import { applyDefaults, type ConnectorOptions, type Settings } from './options.ts';
import { Passages } from './passages.ts';
import { Requests } from './requests.ts';
import { RoundTrips } from './round-trips.ts';
import { RouterClient } from './router-client.ts';
import { Uploads } from './uploads.ts';

export { checkDataDir } from './datasets/data-dir.ts';
export type { ConnectorOptions } from './options.ts';

/** How long the last failures of a drain that ran out of time may take to reach the router. */
const FAREWELL_MS = 2000;

/** What a connector tells its owner. */
export interface ConnectorEvents {
  /** A link is up, and commands may come. Also when a better kind of link took over. */
  online: [link: { readonly kind: LinkKind }];
  /** There is no link; the next attempt follows. */
  offline: [reason: string];
}

/**
 * A connector: keeps one link to the router and answers the commands that come down it, out of one data directory. Runs
 * once.
 */
export class Connector extends EventEmitter<ConnectorEvents> {
  readonly #settings: Settings;
  readonly #clock: Clock;
  readonly #stopping = new AbortController();
  #link: Link | undefined;
  #requests: Requests | undefined;
  #run: Promise<void> | undefined;
  #drain: Promise<void> | undefined;

  /** @param clock time and chance, for tests. */
  constructor(options: ConnectorOptions, clock: Clock = systemClock) {
    super();
    this.#settings = applyDefaults(options);
    this.#clock = clock;
  }

  /**
   * Connects and answers commands until `drain`, `close` or the signal; resolves when sockets, files and timers are gone.
   * @throws {RelayError} usage when the data directory cannot be used; unauthorized or forbidden when the router refuses the
   * token before it ever took it, upgrade_required when it speaks another version of the protocol from the first;
   * router_unreachable when there was no link for `giveUpAfterMs`.
   */
  run(signal?: AbortSignal): Promise<void> {
    if (this.#run !== undefined) throw new RelayError('usage', 'a connector runs only once');
    const close = (): void => void this.close();
    signal?.addEventListener('abort', close, { once: true });
    if (signal?.aborted === true) this.#stopping.abort();
    this.#run = this.#serve().finally(() => signal?.removeEventListener('abort', close));
    return this.#run;
  }

  /**
   * Leaves in good order: tells the router, refuses new commands as `draining`, waits for those that are there up to
   * `graceMs`, then closes. A second call waits for the first.
   */
  async drain(): Promise<void> {
    this.#drain ??= this.#leave();
    await this.#drain;
    await this.#run?.catch(() => {});
  }

  /** Ends at once: requests that are running are cut. */
  async close(): Promise<void> {
    this.#stopping.abort();
    await this.#run?.catch(() => {});
  }

  async #serve(): Promise<void> {
    const { routerUrl, mac, ca, chooseProxy, logger, ...settings } = this.#settings;
    const dataDir = await DataDir.open(settings.dataDir, settings);
    const authorization = new Authorization(this.#settings);
    const { maxBytesPerSecond: rate } = settings;
    const pace = rate === undefined ? undefined : new Pace(rate, this.#clock);
    const agents = createAgents(chooseProxy ?? ((): undefined => undefined), createTrust(ca), pace);
    const arrivals = new Arrivals({ waitMs: settings.receivingTimeoutMs, findLink: () => this.#link });
    const passages = new Passages({ clock: this.#clock, logger });
    const lineRate = new LineRate();
    const storeRate = new LineRate(lineRate);
    const router = new RouterClient({
      routerUrl,
      mac,
      authorization,
      agents,
      clock: this.#clock,
      arrivals,
      lineRate,
      findLink: () => this.#link,
    });
    const mayCode = (): boolean => passages.takesUnmeasured(router.url('datasets/stream/chunk'));
    const codings = new Codings({ lineRate, clock: this.#clock, mayCode });
    const storeCodings = new Codings({ lineRate: storeRate, clock: this.#clock, mayCode: () => true });
    const services = {
      dataDir,
      digests: new Digests(),
      router,
      agents,
      clock: this.#clock,
      passages,
      codings,
      lineRate,
      storeCodings,
      storeRate,
      roundTrips: new RoundTrips(() => this.#link, this.#clock),
      maxParallel: settings.maxParallel,
      offload: settings.offload,
      uploads: new Uploads(),
    };
    const { maxConcurrentRequests: maxConcurrent, maxQueuedRequests: maxQueued } = settings;
    const requests = new Requests({ ...services, logger, maxConcurrent, maxQueued });
    this.#requests = requests;
    const hello = formatHello({ ...settings, name: settings.name, instance: randomUUID() });
    const linkOptions: LinkOptions = {
      routerUrl,
      path: `connectors/${mac}`,
      headers: () => ({ ...hello, ...authorization.headers() }),
      connectTimeoutMs: settings.connectTimeoutMs,
      heartbeatIntervalMs: settings.heartbeatIntervalMs,
      heartbeatTimeoutMs: settings.heartbeatTimeoutMs,
      agents,
      router,
      onMessage: (text) => this.#takeMessage(text, requests, arrivals),
    };
    const over = new AbortController();
    const watching = authorization.watchExpiry(logger, this.#clock, over.signal);
    try {
      await this.#keepConnected(linkOptions, authorization, () => {
        passages.forget();
        lineRate.forget();
        storeRate.forget();
      });
      // A drain stops the reconnecting, not the answering.
      await this.#drain;
    } finally {
      over.abort();
      await watching;
      await requests.close();
      agents.close();
    }
  }

  async #keepConnected(linkOptions: LinkOptions, authorization: Authorization, forgetLine: () => void): Promise<void> {
    const { transport, logger, reconnectMinMs, reconnectMaxMs, websocketRetryMs, giveUpAfterMs } = this.#settings;
    const chooser = new TransportChooser({ transport, openWebSocket, openEventStream, logger });
    await keepConnected(
      {
        connectOnce: (signal) => chooser.open(linkOptions, signal),
        improve: (signal) => chooser.improve(linkOptions, signal),
        improveAfterMs: websocketRetryMs,
        giveUpAfterMs,
        hasNewToken: () => authorization.hasNewToken(),
        backoff: new Backoff({ minMs: reconnectMinMs, maxMs: reconnectMaxMs, random: () => this.#clock.random() }),
        clock: this.#clock,
        logger,
        onUp: (link) => {
          this.#link = link;
          forgetLine();
          logger.info({ link: link.kind, router: this.#settings.routerUrl.href }, 'connected to router');
          this.emit('online', { kind: link.kind });
          if (this.#drain !== undefined) void link.sendDraining();
        },
        onDown: ({ reason }) => {
          this.#link = undefined;
          this.emit('offline', reason);
        },
      },
      this.#stopping.signal,
    );
  }

  #takeMessage(text: string, requests: Requests, arrivals: Arrivals): void {
    const incoming = decodeIncoming(text);
    if (incoming.ok) {
      const { value } = incoming;
      if (value.kind !== 'event') requests.take(value);
      else if (value.event === 'receiving' && value.requestId !== undefined) arrivals.note(value.requestId);
    } else
      this.#settings.logger.warn(
        { reason: incoming.error.message },
        'a message that cannot be understood came down the link',
      );
  }

  async #leave(): Promise<void> {
    const { logger, graceMs } = this.#settings;
    const requests = this.#requests;
    if (requests !== undefined && !this.#stopping.signal.aborted) {
      logger.info({ requests: requests.size }, 'draining');
      requests.drain();
      await this.#link?.sendDraining();
      const idle = requests.whenIdle();
      // One that is closed meanwhile says no word more.
      if (!(await this.#within(graceMs, idle)) && !this.#stopping.signal.aborted) {
        logger.warn({ requests: requests.size, graceMs }, 'requests did not finish in time and are given up');
        requests.giveUp();
        await this.#within(FAREWELL_MS, idle);
      }
    }
    this.#stopping.abort();
  }

  /** Whether `work` is done in time; ends early when the connector is closed meanwhile. */
  async #within(ms: number, work: Promise<void>): Promise<boolean> {
    const over = new AbortController();
    const signal = AbortSignal.any([over.signal, this.#stopping.signal]);
    const timeout = this.#clock.sleep(ms, signal).then(
      () => false,
      () => false,
    );
    try {
      return await Promise.race([work.then(() => true), timeout]);
    } finally {
      over.abort();
    }
  }
}
