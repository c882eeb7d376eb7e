import { AsyncLocalStorage } from 'node:async_hooks';
import type { Traceparent } from '../protocol/trace-context.ts';

const storage = new AsyncLocalStorage<Traceparent | undefined>();

/**
 * Does work as a part of a trace: what it logs carries the `trace_id`, and what it sends on the `traceparent`. The trace
 * follows the work through everything that it waits for.
 */
export function withTrace<T>(traceparent: Traceparent | undefined, work: () => T): T {
  return storage.run(traceparent, work);
}

/** The trace that the work under way is a part of. */
export function currentTrace(): Traceparent | undefined {
  return storage.getStore();
}
