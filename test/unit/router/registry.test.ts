import { afterEach, beforeEach, describe, expect, jest, test } from '@jest/globals';
import { BufferBudget } from '../../../src/router/buffer-budget.ts';
import { Registry } from '../../../src/router/registry.ts';
import { FakeLink, logger, MAC, OTHER_MAC } from './fakes.ts';

let registry: Registry;
let told: string[];

beforeEach(() => {
  jest.useFakeTimers({ now: new Date('2026-01-01T00:00:00Z') });
  registry = new Registry(logger);
  told = [];
  registry.setListener({
    linkUp: (link) => told.push(`up ${link.id} ${registry.findLink(link.hello.mac)?.id}`),
    linkDown: (link) => told.push(`down ${link.id}`),
  });
});

afterEach(() => {
  jest.useRealTimers();
});

describe('the registry', () => {
  test('knows nobody who never came', () => {
    expect(registry.findLink(MAC)).toBeUndefined();
    expect(registry.describe(MAC)).toBeUndefined();
    expect(registry.lastSeen(MAC)).toBeUndefined();
    expect(registry.list()).toEqual([]);
    expect(registry.count()).toEqual({ online: 0, offline: 0 });
    registry.disconnect(new FakeLink(), 'x');
    registry.touch(new FakeLink());
    registry.drain(new FakeLink());
    expect(told).toEqual([]);
  });

  test('shows a connector with what it said of itself', () => {
    registry.connect(new FakeLink([], { name: 'plant', version: '1.2.3', labels: { site: 'x' } }));
    expect(registry.describe(MAC)).toEqual({
      mac: MAC,
      state: 'online',
      last_seen: '2026-01-01T00:00:00.000Z',
      link: 'websocket',
      version: '1.2.3',
      name: 'plant',
      labels: { site: 'x' },
    });
  });

  test('remembers one that is gone, and since when', () => {
    const link = new FakeLink([], { name: 'plant' });
    registry.connect(link);
    jest.advanceTimersByTime(5000);
    registry.touch(link);
    expect(registry.describe(MAC)?.last_seen).toBe('2026-01-01T00:00:05.000Z');
    jest.advanceTimersByTime(5000);
    registry.disconnect(link, 'gone');
    jest.advanceTimersByTime(5000);
    registry.touch(link);
    expect(registry.describe(MAC)).toMatchObject({
      state: 'offline',
      link: null,
      name: 'plant',
      last_seen: '2026-01-01T00:00:10.000Z',
    });
    expect(registry.findLink(MAC)).toBeUndefined();
    expect(registry.count()).toEqual({ online: 0, offline: 1 });
    expect(registry.links()).toEqual([]);
    expect(told.at(-1)).toBe(`down ${link.id}`);
  });

  test.each([
    ['of the same process', 'p', 'p'],
    ['of another machine', 'p', 'q'],
    ['of one that does not say', null, null],
  ])('lets the newest link win: one %s', (_what, first, second) => {
    const old = new FakeLink([], { instance: first });
    const fresh = new FakeLink([], { instance: second, remote: '10.0.0.2:5' });
    registry.connect(old);
    registry.connect(fresh);
    expect(old.closed).toEqual([{ code: 4000, reason: expect.stringContaining('10.0.0.2:5') }]);
    expect(fresh.closed).toEqual([]);
    expect(registry.findLink(MAC)).toBe(fresh);
    expect(registry.links()).toEqual([fresh]);
    // Down before up, and the new one can already be found when its listener hears of it.
    expect(told).toEqual([`up ${old.id} ${old.id}`, `down ${old.id}`, `up ${fresh.id} ${fresh.id}`]);
    registry.disconnect(old, 'late');
    registry.drain(old);
    expect(registry.findLink(MAC)).toBe(fresh);
    expect(told).toHaveLength(3);
  });

  test('gives no more commands to one that drains, and counts it as connected', () => {
    const link = new FakeLink();
    registry.connect(link);
    registry.drain(link);
    registry.drain(link);
    expect(registry.findLink(MAC)).toBeUndefined();
    expect(registry.findLinkOf(MAC)).toBe(link);
    expect(registry.describe(MAC)?.state).toBe('online');
    const fresh = new FakeLink();
    registry.connect(fresh);
    expect(registry.findLink(MAC)).toBe(fresh);
  });

  test('lists all by MAC', () => {
    registry.connect(new FakeLink([], { mac: OTHER_MAC }));
    const link = new FakeLink();
    registry.connect(link);
    registry.disconnect(link, 'x');
    expect(registry.list().map(({ mac, state }) => [mac, state])).toEqual([
      [MAC, 'offline'],
      [OTHER_MAC, 'online'],
    ]);
    expect(registry.count()).toEqual({ online: 1, offline: 1 });
  });
});

describe('the budget of buffered bytes', () => {
  test('gives what there is, and no byte more', () => {
    const budget = new BufferBudget(10);
    budget.reserve(4);
    budget.reserve(6);
    expect(budget.used).toBe(10);
    budget.reserve(0);
    expect(() => budget.reserve(1)).toThrow(
      expect.objectContaining({ code: 'overloaded', retryable: true, details: { retry_after: expect.any(Number) } }),
    );
    expect(budget.used).toBe(10);
    budget.release(6);
    budget.reserve(5);
    expect(budget.used).toBe(9);
  });

  test('takes nothing of what does not fit as a whole', () => {
    const budget = new BufferBudget(10);
    expect(() => budget.reserve(11)).toThrow(/holds as many buffered datasets/);
    expect(budget.used).toBe(0);
  });
});
