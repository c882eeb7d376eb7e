import type { RelayError } from '../protocol/errors.ts';

/**
 * Does what must be done within `ms`, and gives it a signal that fires when that time is over or the caller's own signal does.
 * The time ends with the promise; the signal lives on with whatever was opened by it.
 * @param late the error to throw when the time is over.
 */
export async function withinDeadline<T>(
  ms: number,
  signal: AbortSignal | undefined,
  late: () => RelayError,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const clock = new AbortController();
  const timer = setTimeout(() => clock.abort(late()), ms);
  try {
    return await work(signal ? AbortSignal.any([signal, clock.signal]) : clock.signal);
  } finally {
    clearTimeout(timer);
  }
}
