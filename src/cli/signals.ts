import type { Logger } from '../observability/logger.ts';
import { RelayError } from '../protocol/errors.ts';
import type { Io } from './io.ts';

/** What asks relay to stop. Only Windows knows SIGBREAK; elsewhere nothing ever sends it. */
export const STOP_SIGNALS = ['SIGINT', 'SIGTERM', 'SIGBREAK'] as const;

/** Work that goes on until it is told to stop. */
interface LongLived {
  /** Settles when the work ends of itself, if it ever does. */
  readonly done?: Promise<void>;
  /** Takes nothing new, finishes what is under way, and lets everything go. */
  drain(): Promise<void>;
  /** Lets everything go at once. */
  close(): Promise<void>;
}

/**
 * Runs until the work ends or a signal comes. The first SIGTERM, SIGINT or SIGBREAK
 * (Ctrl-Break of Windows) drains; the second ends at once.
 * @throws {RelayError} `interrupted` after a second signal, when the process must not wait for anything
 */
export async function runUntilSignal(work: LongLived, signals: Io['signals'], logger: Logger): Promise<void> {
  const first = Promise.withResolvers<string>();
  const second = Promise.withResolvers<never>();
  let count = 0;
  const hear = (signal: string) => () => {
    count += 1;
    if (count === 1) first.resolve(signal);
    else second.reject(new RelayError('interrupted', `${signal} for the second time: ending at once`));
  };
  const listeners = STOP_SIGNALS.map((signal) => [signal, hear(signal)] as const);
  for (const [signal, listener] of listeners) signals.on(signal, listener);
  const ends = [first.promise.then(stop), second.promise, ...(work.done ? [work.done] : [])];
  try {
    await Promise.race(ends);
  } catch (thrown) {
    if (count < 2) await work.close();
    throw thrown;
  } finally {
    for (const [signal, listener] of listeners) signals.off(signal, listener);
  }

  async function stop(signal: string): Promise<void> {
    logger.info({ signal }, `${signal}: finishing what is under way; a second one ends at once`);
    await work.drain();
  }
}
