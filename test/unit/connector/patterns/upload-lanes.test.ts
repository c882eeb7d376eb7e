import { describe, expect, test } from '@jest/globals';
import type { Clock } from '../../../../src/connector/clock.ts';
import { UploadLanes } from '../../../../src/connector/patterns/upload-lanes.ts';
import { RoundTrips } from '../../../../src/connector/round-trips.ts';
import type { Link } from '../../../../src/connector/link/link.ts';
import { LineRate } from '../../../../src/http/line-rate.ts';

const PIECE = 256 * 1024;

/** Uploads over a way of so many ms, on a clock of the test's own, and tells how many parts went at once at most. */
class Way {
  readonly stop = new AbortController();
  readonly lanes: UploadLanes;
  #now = 0;
  #sleeping: { readonly until: number; readonly wake: () => void }[] = [];
  running = 0;
  most = 0;

  constructor(roundTripMs: number | undefined, { maxParallel = 16, now = roundTripMs ?? 0 } = {}) {
    const clock: Clock = {
      now: () => this.#now,
      random: () => 0,
      sleep: (ms, signal) =>
        new Promise((resolve, reject) => {
          this.#sleeping.push({ until: this.#now + ms, wake: resolve });
          signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
        }),
    };
    const link = { roundTripMs, measureRoundTrip: () => Promise.resolve(now) } as Link;
    const roundTrips = new RoundTrips(() => (roundTripMs === undefined ? undefined : link), clock);
    const { signal } = this.stop;
    this.lanes = new UploadLanes({ clock, signal, roundTrips, maxParallel, storeRate: new LineRate() });
  }

  /** Sends a part of several pieces, 1 MB/s by each connection. */
  async send(): Promise<void> {
    this.running += 1;
    this.most = Math.max(this.most, this.running);
    for (let piece = 0; piece < 16; piece++) {
      // Whoever else is under way has its turn.
      await new Promise(setImmediate);
      this.#now += PIECE / 1000 / this.running;
      const due = this.#sleeping.filter(({ until }) => until <= this.#now);
      this.#sleeping = this.#sleeping.filter(({ until }) => until > this.#now);
      for (const { wake } of due) wake();
      this.lanes.noteSent(PIECE);
    }
    this.running -= 1;
  }
}

describe('the parts of an upload', () => {
  test('go four at once where the router is near, or nobody knows', async () => {
    for (const way of [new Way(1), new Way(undefined)]) {
      const sent: number[] = [];
      await way.lanes.run(40, way.stop, async (index) => {
        sent.push(index);
        await way.send();
      });
      expect(sent).toEqual(Array.from({ length: 40 }, (_, index) => index));
      expect(way.most).toBe(4);
    }
  });

  test('go as many at once as there may be where it is far, while no queue forms', async () => {
    const way = new Way(80);
    await way.lanes.run(200, way.stop, () => way.send());
    expect(way.most).toBe(16);
  });

  test('go no more at once than at first where a queue stands before the line', async () => {
    const way = new Way(80, { now: 110 });
    await way.lanes.run(200, way.stop, () => way.send());
    expect(way.most).toBe(8);
  });

  test('are joined by others as soon as there is room, though none has ended', async () => {
    const way = new Way(80);
    const { promise: enough, resolve } = Promise.withResolvers<void>();
    await way.lanes.run(16, way.stop, async (index) => {
      if (index < 12) {
        while (way.most < 9) await way.send();
        if (way.most >= 9) resolve();
      }
      await enough;
    });
    expect(way.most).toBeGreaterThan(8);
  });

  test('go four at once from far away where no more connections are wanted', async () => {
    const way = new Way(80, { maxParallel: 1 });
    await way.lanes.run(40, way.stop, () => way.send());
    expect(way.most).toBe(4);
  });

  test('end together where one fails, and nothing is under way then', async () => {
    const way = new Way(80);
    const error = new Error('the store is gone');
    let ended = 0;
    const running = way.lanes.run(100, way.stop, async (index) => {
      if (index === 4) throw error;
      await new Promise((resolve) => way.stop.signal.addEventListener('abort', resolve, { once: true }));
      ended += 1;
    });
    await expect(running).rejects.toBe(error);
    expect([way.stop.signal.reason, ended]).toEqual([error, 7]);
  });
});
