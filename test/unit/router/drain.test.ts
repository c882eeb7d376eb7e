import { afterEach, beforeEach, describe, expect, jest, test } from '@jest/globals';
import type { DatasetName } from '../../../src/protocol/dataset-name.ts';
import { RelayError } from '../../../src/protocol/errors.ts';
import { Dispatcher } from '../../../src/router/dispatcher.ts';
import { Drain, drainingError } from '../../../src/router/drain.ts';
import { Registry } from '../../../src/router/registry.ts';
import { RequestLog, type RequestRecord } from '../../../src/router/request-log.ts';
import { exchangeOptions, FakeLink, logger, MAC, OTHER_MAC } from './fakes.ts';

interface Scene {
  state: { ready: boolean; draining: boolean };
  registry: Registry;
  dispatcher: Dispatcher;
  drain: Drain;
  isAnswering: boolean;
  isOver: boolean;
  open: (id: string) => RequestRecord;
  begin: () => Promise<void>;
}

/** A router's parts, of which only the drain is looked at. */
function createScene({ delayMs = 0, graceMs = 1000 } = {}): Scene {
  const registry = new Registry(logger);
  const dispatcher = new Dispatcher({
    registry,
    reconnectWaitMs: 0,
    resumeWaitMs: 45_000,
    maxPerConnector: 1000,
    onRefused: () => {},
    logger,
    onEnd: () => scene.drain.changed(),
  });
  const requests = new RequestLog(() => scene.drain.changed());
  const state = { ready: true, draining: false };
  const isAnswering = (): boolean => scene.isAnswering;
  const scene: Scene = {
    state,
    registry,
    dispatcher,
    drain: new Drain({ state, registry, dispatcher, requests, isAnswering, delayMs, graceMs, logger }),
    isAnswering: false,
    isOver: false,
    open: (id) => requests.open({ id, kind: 'stream', mac: MAC, dataset: 'a' as DatasetName, keep: false }),
    begin: async () => {
      void scene.drain.run().then(() => {
        scene.isOver = true;
      });
      await settle();
    },
  };
  return scene;
}

const settle = (): Promise<void> => jest.advanceTimersByTimeAsync(0);

beforeEach(() => {
  jest.useFakeTimers({ doNotFake: ['performance'] });
});

afterEach(() => {
  jest.useRealTimers();
});

describe('a drain', () => {
  test('is over at once where nothing runs, and sends idle connectors away', async () => {
    const scene = createScene();
    const link = new FakeLink();
    scene.registry.connect(link);
    await scene.begin();
    expect([scene.isOver, scene.state]).toEqual([true, { ready: false, draining: true }]);
    expect(link.closed).toMatchObject([{ code: 4002 }]);
  });

  test('keeps the link of who has a request, until it has ended, and lets the others go', async () => {
    const scene = createScene();
    const busy = new FakeLink(['cancel']);
    const idle = new FakeLink([], { mac: OTHER_MAC });
    scene.registry.connect(busy);
    scene.registry.connect(idle);
    const exchange = scene.dispatcher.submit(exchangeOptions('a'));
    await scene.begin();
    expect([busy.closed.length, idle.closed.length, scene.isOver]).toEqual([0, 1, false]);
    exchange.fail(new RelayError('cancelled'));
    expect(busy.sent.at(-1)).toEqual({ command: 'cancel', request_id: 'a' });
    await settle();
    expect([busy.closed.length, scene.isOver]).toEqual([1, true]);
  });

  test('keeps it also between two commands of one request', async () => {
    const scene = createScene();
    const link = new FakeLink();
    scene.registry.connect(link);
    const record = scene.open('r');
    const first = scene.dispatcher.submit(exchangeOptions('a'));
    await scene.begin();
    first.succeed();
    await settle();
    const second = scene.dispatcher.submit(exchangeOptions('b'));
    expect([link.closed, link.sent.length, second.ended]).toEqual([[], 2, false]);
    second.succeed();
    record.succeed();
    await settle();
    expect([link.closed.length, scene.isOver]).toEqual([1, true]);
  });

  test('waits for responses that are still being written', async () => {
    const scene = createScene();
    scene.isAnswering = true;
    await scene.begin();
    expect(scene.isOver).toBe(false);
    scene.isAnswering = false;
    scene.drain.changed();
    await settle();
    expect(scene.isOver).toBe(true);
  });
});

describe('time', () => {
  test('is given to new requests before they are refused, when it is asked for', async () => {
    const scene = createScene({ delayMs: 500 });
    await scene.begin();
    expect(scene.state).toEqual({ ready: false, draining: false });
    await jest.advanceTimersByTimeAsync(500);
    expect([scene.state.draining, scene.isOver]).toEqual([true, true]);
  });

  test('runs out for what does not end', async () => {
    const scene = createScene({ graceMs: 2000 });
    scene.open('r');
    await scene.begin();
    await jest.advanceTimersByTimeAsync(2000);
    expect(scene.isOver).toBe(true);
  });

  test('is cut short by a second word', async () => {
    const scene = createScene({ delayMs: 500 });
    await scene.begin();
    scene.drain.abort();
    await settle();
    expect([scene.isOver, scene.state.draining]).toEqual([true, false]);
  });
});

test('who asks three times as it was told is asked after the end', () => {
  for (const graceMs of [0, 1000, 25_000, 60_000]) {
    const { retry_after: seconds = 0 } = drainingError(graceMs).details;
    expect(3 * seconds * 1000).toBeGreaterThanOrEqual(graceMs + 3000);
  }
});
