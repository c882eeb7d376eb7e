import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';

/** What the metrics ask for when they are read. */
export interface MetricSources {
  connectors(): { online: number; offline: number };
  /** Exchanges with connectors under way. */
  pending(): number;
  /** Bytes of datasets held in memory. */
  buffered(): number;
  /** Open connections, links included. */
  connections(): number;
  /** Requests that are being answered, by who made them. */
  held(): { app: number; connector: number };
}

/** The router's metrics in the Prometheus text format. Their names are stable; none carries a MAC address. */
export class RouterMetrics {
  readonly #registry = new Registry();
  readonly #requests: Counter;
  readonly #durations: Histogram;
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
      buckets: [0.005, 0.02, 0.1, 0.5, 2, 10, 60, 300, 1800],
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
      help: 'Links that have ended, by kind',
      labelNames: ['kind'],
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
    this.#gauge('relay_build_info', 'Always 1; the version is its label', ['version'], (gauge) =>
      gauge.set({ version }, 1),
    );
  }

  /** A request of an app has ended. @param code `ok` or the code of its error. */
  countRequest(pattern: string, code: string, seconds: number, bytes: number): void {
    this.#requests.inc({ pattern, code });
    this.#durations.observe({ pattern }, seconds);
    this.#bytes.inc({ pattern }, bytes);
  }

  countAuthFailure(reason: string): void {
    this.#authFailures.inc({ reason });
  }

  /** Something was refused for a limit. */
  countRefusal(reason: string): void {
    this.#refused.inc({ reason });
  }

  countLinkClosed(kind: string): void {
    this.#linksClosed.inc({ kind });
  }

  /** Everything in the Prometheus text format, and the media type to send it with. */
  async render(): Promise<{ text: string; contentType: string }> {
    return { text: await this.#registry.metrics(), contentType: this.#registry.contentType };
  }

  #gauge(name: string, help: string, labelNames: string[], read: (gauge: Gauge) => void): void {
    const gauge: Gauge = new Gauge({ name, help, labelNames, registers: [this.#registry], collect: () => read(gauge) });
  }
}
