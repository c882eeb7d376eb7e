import { EventEmitter } from 'node:events';
import { setImmediate } from 'node:timers/promises';
import { describe, expect, test } from '@jest/globals';
import { runUntilSignal } from '../../../src/cli/signals.ts';
import { silentLogger } from '../../../src/observability/logger.ts';
import { RelayError } from '../../../src/protocol/errors.ts';

/** Work whose drain ends when the test says so. */
function createWork(): {
  calls: string[];
  drained: PromiseWithResolvers<void>;
  drain(): Promise<void>;
  close(): Promise<void>;
} {
  const calls: string[] = [];
  const drained = Promise.withResolvers<void>();
  return {
    calls,
    drained,
    drain: () => {
      calls.push('drain');
      return drained.promise;
    },
    close: async () => {
      calls.push('close');
    },
  };
}

describe('a long-lived command', () => {
  test.each(['SIGINT', 'SIGTERM', 'SIGBREAK'])('drains on the first %s and ends when that is done', async (signal) => {
    const signals = new EventEmitter();
    const work = createWork();
    const running = runUntilSignal(() => work, signals, silentLogger());
    signals.emit(signal);
    await setImmediate();
    expect(work.calls).toEqual(['drain']);
    work.drained.resolve();
    await running;
    expect(signals.eventNames()).toEqual([]);
  });

  test('ends at once on the second, without waiting for the drain', async () => {
    const signals = new EventEmitter();
    const work = createWork();
    const running = runUntilSignal(() => work, signals, silentLogger());
    signals.emit('SIGTERM');
    signals.emit('SIGINT');
    await expect(running).rejects.toMatchObject({ code: 'interrupted', exitCode: 130 });
    expect(signals.eventNames()).toEqual([]);
  });

  test('drains when it has started where the signal came before', async () => {
    const signals = new EventEmitter();
    const work = createWork();
    const started = Promise.withResolvers<typeof work>();
    const running = runUntilSignal(() => started.promise, signals, silentLogger());
    signals.emit('SIGTERM');
    started.resolve(work);
    await setImmediate();
    expect(work.calls).toEqual(['drain']);
    work.drained.resolve();
    await running;
  });

  test('ends at once on the second signal while it starts', async () => {
    const signals = new EventEmitter();
    const running = runUntilSignal(() => new Promise(() => {}), signals, silentLogger());
    signals.emit('SIGTERM');
    signals.emit('SIGTERM');
    await expect(running).rejects.toMatchObject({ code: 'interrupted', exitCode: 130 });
    expect(signals.eventNames()).toEqual([]);
  });

  test('fails as its start does', async () => {
    const failure = new RelayError('internal', 'the port is taken');
    const signals = new EventEmitter();
    await expect(runUntilSignal(() => Promise.reject(failure), signals, silentLogger())).rejects.toBe(failure);
    expect(signals.eventNames()).toEqual([]);
  });

  test('ends when its work ends', async () => {
    const signals = new EventEmitter();
    await runUntilSignal(() => ({ ...createWork(), done: Promise.resolve() }), signals, silentLogger());
    expect(signals.eventNames()).toEqual([]);
  });

  test('lets go of everything when its work fails', async () => {
    const failure = new RelayError('router_unreachable', 'gave up');
    const work = createWork();
    const start = () => ({ ...work, done: Promise.reject(failure) });
    const running = runUntilSignal(start, new EventEmitter(), silentLogger());
    await expect(running).rejects.toBe(failure);
    expect(work.calls).toEqual(['close']);
  });
});
