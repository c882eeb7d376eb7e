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
 * Starts work and runs until it ends or a signal comes. The first SIGTERM, SIGINT or SIGBREAK
 * (Ctrl-Break of Windows) drains, as soon as the work has started; the second ends at once.
 * @param start what it throws is thrown
 * @throws {RelayError} `interrupted` after a second signal, when the process must not wait for anything
 */
export async function runUntilSignal(
  start: () => LongLived | Promise<LongLived>,
  signals: Io['signals'],
  logger: Logger,
): Promise<void> {
  const first = Promise.withResolvers<string>();
  const second = Promise.withResolvers<never>();
  let count = 0;
  const hear = (signal: string) => () => {
    count += 1;
    if (count === 1) first.resolve(signal);
    else second.reject(new RelayError('interrupted', `${signal} for the second time: ending at once`));
  };
  // From before the start: whoever starts a service may stop it at any moment.
  const listeners = STOP_SIGNALS.map((signal) => [signal, hear(signal)] as const);
  for (const [signal, listener] of listeners) signals.on(signal, listener);
  let work: LongLived | undefined;
  const run = async (): Promise<void> => {
    const started = (work = await start());
    const drain = async (): Promise<void> => {
      const signal = await first.promise;
      logger.info({ signal }, `${signal}: finishing what is under way; a second one ends at once`);
      await started.drain();
    };
    await Promise.race([drain(), ...(started.done ? [started.done] : [])]);
  };
  try {
    await Promise.race([run(), second.promise]);
  } catch (thrown) {
    if (count < 2) await work?.close();
    throw thrown;
  } finally {
    for (const [signal, listener] of listeners) signals.off(signal, listener);
  }
}
