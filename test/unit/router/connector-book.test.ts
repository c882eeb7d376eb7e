import { afterEach, beforeEach, describe, expect, jest, test } from '@jest/globals';
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ConnectorBook } from '../../../src/router/connector-book.ts';
import { Registry } from '../../../src/router/registry.ts';
import type { Mac } from '../../../src/protocol/mac.ts';
import { makeTempDir } from '../../support/router.ts';
import { FakeLink, logger, MAC, OTHER_MAC } from './fakes.ts';

const START = Date.parse('2026-01-01T00:00:00Z');
const FACTS = { version: '1.2.3', name: 'größe', labels: { site: 'x' } };

let directory: Awaited<ReturnType<typeof makeTempDir>>;
let path: string;
let book: ConnectorBook;

beforeEach(async () => {
  directory = await makeTempDir();
  path = join(directory.path, 'connectors.db');
  jest.useFakeTimers({ now: START, doNotFake: ['setImmediate', 'nextTick', 'queueMicrotask'] });
  book = new ConnectorBook({ path, logger });
});

afterEach(async () => {
  book.close();
  jest.useRealTimers();
  await directory[Symbol.asyncDispose]();
});

/** The registry of a router that starts on this directory. */
function restart(maxOffline?: number): Registry {
  book.close();
  book = new ConnectorBook({ path, logger });
  return new Registry(logger, book, maxOffline);
}

describe('the record of connectors', () => {
  test('lets the next process know who was there, what they said of themselves, and until when', () => {
    const registry = new Registry(logger, book);
    const link = new FakeLink([], FACTS);
    registry.connect(link);
    jest.setSystemTime(START + 5000);
    registry.disconnect(link, 'x');
    jest.setSystemTime(START + 60_000);
    const next = restart();
    expect(next.describe(MAC)).toEqual({
      mac: MAC,
      state: 'offline',
      last_seen: '2026-01-01T00:00:05.000Z',
      link: null,
      ...FACTS,
    });
    expect(next.awaitedSince(MAC)).toBe(START + 5000);
    expect(next.count()).toEqual({ online: 0, offline: 1 });
  });

  test('takes those that were connected at the end for expected, and for seen until then', () => {
    new Registry(logger, book).connect(new FakeLink());
    jest.advanceTimersByTime(25_000);
    const next = restart();
    expect([next.lastSeen(MAC), next.awaitedSince(MAC)]).toEqual([START + 25_000, START + 25_000]);
    jest.setSystemTime(START + 3_600_000);
    const afterThat = restart();
    // It never came back: not seen since, but still waited for.
    expect([afterThat.lastSeen(MAC), afterThat.awaitedSince(MAC)]).toEqual([START + 25_000, START + 3_600_000]);
  });

  test('takes those that the router sent away for expected, not those that left', () => {
    const registry = new Registry(logger, book);
    const [sentAway, left] = [new FakeLink(), new FakeLink([], { mac: OTHER_MAC })];
    registry.connect(sentAway);
    registry.connect(left);
    registry.sendAway(sentAway);
    for (const link of [sentAway, left]) registry.disconnect(link, 'x');
    expect(sentAway.closed).toMatchObject([{ code: 4002 }]);
    jest.setSystemTime(START + 3_600_000);
    const next = restart();
    expect([next.awaitedSince(MAC), next.awaitedSince(OTHER_MAC)]).toEqual([START + 3_600_000, START]);
  });

  test('hides nobody when the clock is set back', () => {
    const registry = new Registry(logger, book);
    const link = new FakeLink();
    registry.connect(link);
    registry.disconnect(link, 'x');
    jest.setSystemTime(START - 86_400_000);
    const next = restart();
    expect(next.describe(MAC)?.last_seen).toBe('2025-12-31T00:00:00.000Z');
    next.connect(new FakeLink());
    expect(next.describe(MAC)).toMatchObject({ state: 'online', last_seen: '2025-12-31T00:00:00.000Z' });
  });

  test('forgets those that were away for the longest time beyond its bound, on the disk too, and never a connected one', () => {
    const macs = Array.from({ length: 5 }, (_, number) => `00-00-00-00-00-0${number}` as Mac);
    const registry = new Registry(logger, book, 3);
    const stays = new FakeLink();
    registry.connect(stays);
    for (const [index, mac] of macs.entries()) {
      jest.setSystemTime(START + 1000 * (index + 1));
      const link = new FakeLink([], { mac });
      registry.connect(link);
      registry.disconnect(link, 'x');
    }
    const left = [...macs.slice(2), MAC];
    expect(registry.list().map(({ mac }) => mac)).toEqual(left);
    registry.disconnect(stays, 'x');
    expect(
      restart(3)
        .list()
        .map(({ mac }) => mac),
    ).toEqual([...macs.slice(3), MAC]);
  });

  test('survives a kill in the middle of its work', async () => {
    book.close();
    jest.useRealTimers();
    const child = fork(new URL('connector-book-child.ts', import.meta.url), [path], { execArgv: [] });
    await once(child, 'message');
    const exited = once(child, 'exit');
    child.kill('SIGKILL');
    await exited;
    const next = restart();
    expect(next.list()).toMatchObject([
      { mac: MAC, last_seen: '1970-01-01T00:00:01.000Z', ...FACTS },
      { mac: OTHER_MAC, last_seen: '1970-01-01T00:00:03.000Z' },
    ]);
    expect(next.awaitedSince(OTHER_MAC)).toBe(3000);
  });

  test('is moved aside where it is damaged, and begun anew', async () => {
    book.close();
    await writeFile(path, 'this is no database, and long enough to be taken for one'.repeat(200));
    expect(restart().list()).toEqual([]);
    expect((await readdir(directory.path)).some((name) => name.startsWith('connectors.db.damaged-'))).toBe(true);
  });

  test('says what to do where it cannot be kept', () => {
    expect(() => new ConnectorBook({ path: '/dev/null/connectors.db', logger })).toThrow(
      expect.objectContaining({ message: expect.stringMatching(/\/dev\/null\/connectors\.db.*--state-dir/s) }),
    );
    expect(() => new ConnectorBook({ path, logger })).toThrow(expect.objectContaining({ code: 'usage' }));
  });

  test('costs nothing but itself when it cannot be written any more', () => {
    const registry = new Registry(logger, book);
    book.close();
    const link = new FakeLink();
    registry.connect(link);
    registry.disconnect(link, 'x');
    expect(registry.describe(MAC)?.state).toBe('offline');
  });
});
