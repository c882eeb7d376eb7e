import { expect, test } from '@jest/globals';
import type { Clock } from '../../../../src/connector/clock.ts';
import { Pace } from '../../../../src/connector/http/pace.ts';

/** A clock that sleeps in no time, and says how late it is. */
function makeClock(): Clock & { time: number } {
  const clock = {
    time: 0,
    now: () => clock.time,
    sleep: (ms: number, signal: AbortSignal) => {
      signal.throwIfAborted();
      clock.time += ms;
      return Promise.resolve();
    },
    random: () => 0,
  };
  return clock;
}

const { signal } = new AbortController();

test('lets a rate pass, whatever the pieces, and a little at once after a pause', async () => {
  const clock = makeClock();
  const pace = new Pace(1_000_000, clock);
  for (let sent = 0; sent < 3_000_000; sent += 30_000) await pace.take(30_000, signal);
  expect(clock.time).toBeGreaterThan(2800);
  expect(clock.time).toBeLessThan(3000);
  clock.time += 60_000;
  const before = clock.time;
  for (let sent = 0; sent < 1_000_000; sent += 30_000) await pace.take(30_000, signal);
  expect(clock.time - before).toBeGreaterThan(850);
});

test('pieces are short at any rate', () => {
  const clock = makeClock();
  expect(new Pace(1_000_000, clock).pieceBytes).toBe(50_000);
  expect(new Pace(1024, clock).pieceBytes).toBe(1024);
});

test('does not wait for what is cancelled', async () => {
  const pace = new Pace(1000, makeClock());
  await pace.take(10_000, signal);
  await expect(pace.take(1, AbortSignal.abort(new Error('gone')))).rejects.toThrow('gone');
});
