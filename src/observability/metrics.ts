import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';

/** What the metrics ask for when they are read. */
export interface MetricSources {
  connectors(): { online: number; offline: number };
  /** Exchanges with connectors under way. */
  pending(): number;
  /** Bytes of datasets held in memory. */
  buffered(): number;
  /** Bytes of the objects in the store. */
  stored(): number;
  /** Open connections, links included. */
  connections(): number;
  /** Requests that are being answered, by who made them. */
  held(): { app: number; connector: number };
}

/** In seconds: what is small takes some hundredths, what is large and far away takes hours. */
const DURATION_BUCKETS = [0.01, 0.05, 0.25, 1, 5, 15, 60, 300, 900, 3600, 14_400];
const BEGIN_BUCKETS = [0.005, 0.02, 0.1, 0.5, 2, 10, 30, 120, 600];

/** A request as it is counted. */
interface EndedRequest {
  readonly pattern: string;
  /** `ok`, or the code of its error. */
  readonly code: string;
  readonly seconds: number;
  /** When the first bytes came, counted from the request; undefined where none did, or they went elsewhere. */
  readonly beginSeconds: number | undefined;
  readonly bytes: number;
}

/**
 * The router's metrics in the Prometheus text format. `docs/metrics.md` has them; names and labels are stable, and none
 * carries a MAC address.
 */
export class RouterMetrics {
  readonly #registry = new Registry();
  readonly #requests: Counter;
  readonly #durations: Histogram;
  readonly #beginnings: Histogram;
  readonly #bytes: Counter;
  readonly #linksClosed: Counter;
  readonly #authFailures: Counter;
  readonly #refused: Counter;

  constructor(version: string, sources: MetricSources) {
    const registers = [this.#registry];
    collectDefaultMetrics({ register: this.#registry });
    this.#requests = new Counter({
      name: 'relay_requests_total',
      help: 'Requests of apps that have ended, by pattern and code (ok, or the code of the error)',
      labelNames: ['pattern', 'code'],
      registers,
    });
    this.#durations = new Histogram({
      name: 'relay_request_duration_seconds',
      help: 'Time from a request to its end',
      labelNames: ['pattern'],
      buckets: DURATION_BUCKETS,
      registers,
    });
    this.#beginnings = new Histogram({
      name: 'relay_request_begin_seconds',
      help: 'Time from a request of pattern A or B to the first bytes from its connector',
      labelNames: ['pattern'],
      buckets: BEGIN_BUCKETS,
      registers,
    });
    this.#bytes = new Counter({
      name: 'relay_dataset_bytes_total',
      help: 'Bytes of datasets in requests that have ended, by pattern',
      labelNames: ['pattern'],
      registers,
    });
    this.#linksClosed = new Counter({
      name: 'relay_link_closed_total',
      help: 'Links that have ended, by kind and reason',
      labelNames: ['kind', 'reason'],
      registers,
    });
    this.#authFailures = new Counter({
      name: 'relay_auth_failures_total',
      help: 'Requests refused for their credential, by reason',
      labelNames: ['reason'],
      registers,
    });
    this.#refused = new Counter({
      name: 'relay_refused_total',
      help: 'What was refused for a limit, by reason',
      labelNames: ['reason'],
      registers,
    });
    this.#gauge('relay_connections', 'Open connections, links included', [], (gauge) =>
      gauge.set(sources.connections()),
    );
    this.#gauge('relay_held_requests', 'Requests that wait or run, by side (app, connector)', ['side'], (gauge) => {
      for (const [side, count] of Object.entries(sources.held())) gauge.set({ side }, count);
    });
    this.#gauge('relay_connectors', 'Connectors by state', ['state'], (gauge) => {
      const { online, offline } = sources.connectors();
      gauge.set({ state: 'online' }, online);
      gauge.set({ state: 'offline' }, offline);
    });
    this.#gauge('relay_pending_exchanges', 'Commands that wait for their answer', [], (gauge) =>
      gauge.set(sources.pending()),
    );
    this.#gauge('relay_buffered_bytes', 'Bytes of datasets held in memory by pattern A', [], (gauge) =>
      gauge.set(sources.buffered()),
    );
    this.#gauge('relay_store_bytes', 'Bytes of the objects that pattern C has in the store', [], (gauge) =>
      gauge.set(sources.stored()),
    );
    this.#gauge('relay_build_info', 'Always 1; the versions are its labels', ['version', 'node'], (gauge) =>
      gauge.set({ version, node: process.versions.node }, 1),
    );
  }

  /** A request of an app has ended. */
  countRequest({ pattern, code, seconds, beginSeconds, bytes }: EndedRequest): void {
    this.#requests.inc({ pattern, code });
    this.#durations.observe({ pattern }, seconds);
    if (beginSeconds !== undefined) this.#beginnings.observe({ pattern }, beginSeconds);
    this.#bytes.inc({ pattern }, bytes);
  }

  /** A request was refused for its credential. @param reason one of a small, closed set. */
  countAuthFailure(reason: string): void {
    this.#authFailures.inc({ reason });
  }

  /** Something was refused for a limit. @param reason one of a small, closed set. */
  countRefusal(reason: string): void {
    this.#refused.inc({ reason });
  }

  /** A link has ended. @param reason one of a small, closed set. */
  countLinkClosed(kind: string, reason: string): void {
    this.#linksClosed.inc({ kind, reason });
  }

  /** Everything in the Prometheus text format, and the media type to send it with. */
  async render(): Promise<{ text: string; contentType: string }> {
    return { text: await this.#registry.metrics(), contentType: this.#registry.contentType };
  }

  #gauge(name: string, help: string, labelNames: string[], read: (gauge: Gauge) => void): void {
    const gauge: Gauge = new Gauge({ name, help, labelNames, registers: [this.#registry], collect: () => read(gauge) });
  }
}
