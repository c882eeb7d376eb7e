import type { RouterMetrics } from '../observability/metrics.ts';
import type { Access } from './access.ts';
import type { BaseUrl } from './base-url.ts';
import type { BufferBudget } from './buffer-budget.ts';
import type { ForwardingReader } from './forwarding.ts';
import type { Dispatcher } from './dispatcher.ts';
import type { RouterOptions } from './options.ts';
import type { Offloads } from './patterns/offloading.ts';
import type { Registry } from './registry.ts';
import type { RequestLog } from './request-log.ts';

/** The parts of one router, as patterns and routes get them. */
export interface Context {
  readonly options: RouterOptions;
  /** Begins every request id that this router makes. */
  readonly routerId: string;
  readonly access: Access;
  readonly baseUrl: BaseUrl;
  /** What trusted proxies tell of a request. */
  readonly forwarding: ForwardingReader;
  readonly registry: Registry;
  readonly dispatcher: Dispatcher;
  readonly requests: RequestLog;
  readonly budget: BufferBudget;
  readonly offloads: Offloads;
  readonly metrics: RouterMetrics;
  readonly state: { draining: boolean };
}
