import { RelayError } from '../protocol/errors.ts';

/**
 * Does what must be done within `ms`, and gives it a signal that fires when that time is over or the caller's own signal does.
 * The time ends with the promise; the signal lives on with whatever was opened by it.
 * @throws {RelayError} router_unreachable when the time is over.
 */
export async function withinDeadline<T>(
  ms: number,
  signal: AbortSignal | undefined,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const late = new AbortController();
  const timer = setTimeout(() => {
    late.abort(new RelayError('router_unreachable', `the router did not answer within ${Math.round(ms / 1000)} s`));
  }, ms);
  try {
    return await work(signal ? AbortSignal.any([signal, late.signal]) : late.signal);
  } finally {
    clearTimeout(timer);
  }
}
