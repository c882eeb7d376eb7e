import { expect, test } from '@jest/globals';
import { LineRate } from '../../../src/http/line-rate.ts';

const MINUTE_MS = 60_000;

test('what a body took says how fast the line is, the last one counts', () => {
  const line = new LineRate();
  expect([line.known(0), line.atLeast(0)]).toEqual([undefined, 0]);
  line.note({ bytes: 100_000, ms: 100, madeMs: 1 }, 0);
  expect(line.known(1)).toBe(1000);
  line.note({ bytes: 100_000, ms: 50, madeMs: 1 }, 2);
  expect(line.known(3)).toBe(2000);
});

test('a body that was through at once only says that the line is no slower', () => {
  const line = new LineRate();
  line.note({ bytes: 100_000, ms: 5, madeMs: 0 }, 0);
  expect([line.known(1), line.atLeast(1)]).toEqual([undefined, 20_000]);
  line.note({ bytes: 40_000, ms: 10, madeMs: 0 }, 2);
  expect(line.atLeast(3)).toBe(20_000);
  line.note({ bytes: 400_000, ms: 10, madeMs: 0 }, 4);
  expect(line.atLeast(5)).toBe(40_000);
});

test('a line that waited for its sender is taken for faster, each time anew', () => {
  const line = new LineRate();
  line.note({ bytes: 100_000, ms: 100, madeMs: 0 }, 0);
  line.note({ bytes: 100_000, ms: 100, madeMs: 80 }, 1);
  expect(line.known(2)).toBe(4000);
  line.note({ bytes: 100_000, ms: 100, madeMs: 80 }, 3);
  expect(line.known(4)).toBe(16_000);
  line.note({ bytes: 300_000, ms: 100, madeMs: 10 }, 5);
  expect(line.known(6)).toBe(3000);
});

test('counts for ten minutes, and not on another line', () => {
  const line = new LineRate();
  line.note({ bytes: 100_000, ms: 100, madeMs: 0 }, 0);
  expect(line.known(10 * MINUTE_MS - 1)).toBe(1000);
  expect([line.known(10 * MINUTE_MS), line.atLeast(10 * MINUTE_MS)]).toEqual([undefined, 0]);
  line.note({ bytes: 100_000, ms: 100, madeMs: 0 }, 0);
  line.forget();
  expect([line.known(1), line.atLeast(1)]).toEqual([undefined, 0]);
});

test('what is known of the line that it is a part of counts until more is', () => {
  const whole = new LineRate();
  const line = new LineRate(whole);
  expect([line.known(0), line.atLeast(0)]).toEqual([undefined, 0]);
  whole.note({ bytes: 100_000, ms: 100, madeMs: 0 }, 0);
  expect([line.known(1), line.atLeast(1)]).toEqual([1000, 1000]);
  line.note({ bytes: 40_000, ms: 100, madeMs: 0 }, 2);
  expect([line.known(3), whole.known(3)]).toEqual([400, 1000]);
  line.forget();
  expect(line.known(4)).toBe(1000);
});
