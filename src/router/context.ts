import type { RouterMetrics } from '../observability/metrics.ts';
import type { Access } from './access/access.ts';
import type { AppLines } from './app-lines.ts';
import type { BaseUrl } from './base-url.ts';
import type { BufferBudget } from './buffer-budget.ts';
import type { ForwardingReader } from './forwarding.ts';
import type { Dispatcher } from './dispatcher.ts';
import type { RouterState } from './drain.ts';
import type { Limits } from './limits/limits.ts';
import type { RouterOptions } from './options.ts';
import type { Memory } from './memory.ts';
import type { NodeLines } from './node-lines.ts';
import type { Offloads } from './patterns/offloading.ts';
import type { Registry } from './registry.ts';
import type { RequestLog } from './request-log.ts';
import type { WindowBudget } from './window.ts';

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
  readonly limits: Limits;
  /** How fast the lines to apps are, as far as that was seen. */
  readonly appLines: AppLines;
  /** How fast the ways from nodes are, as far as that was seen. */
  readonly nodeLines: NodeLines;
  readonly memory: Memory;
  readonly budget: BufferBudget;
  /** What parts that came ahead of their turn may take, all transfers together. */
  readonly windowBudget: WindowBudget;
  readonly offloads: Offloads;
  readonly metrics: RouterMetrics;
  readonly state: RouterState;
}
