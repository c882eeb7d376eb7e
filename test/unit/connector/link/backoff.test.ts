import { describe, expect, test } from '@jest/globals';
import { Backoff } from '../../../../src/connector/link/backoff.ts';

describe('backoff', () => {
  test('doubles its ceiling with each failure, up to the longest pause', () => {
    const backoff = new Backoff({ minMs: 500, maxMs: 30_000, random: () => 1 });
    expect(Array.from({ length: 9 }, () => backoff.next())).toEqual([
      500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000,
    ]);
    backoff.reset();
    expect(backoff.next()).toBe(500);
  });

  test('has full jitter from the first pause on', () => {
    let random = 0;
    const backoff = new Backoff({ minMs: 500, maxMs: 30_000, random: () => random });
    expect(backoff.next()).toBe(0);
    random = 0.5;
    expect(backoff.next()).toBe(500);
  });

  test('never overflows', () => {
    const backoff = new Backoff({ minMs: 500, maxMs: 30_000, random: () => 1 });
    for (let i = 0; i < 5000; i++) backoff.next();
    expect(backoff.next()).toBe(30_000);
  });

  test('keeps to the upper half of the longest pause at the slowest pace', () => {
    let random = 0;
    const backoff = new Backoff({ minMs: 500, maxMs: 30_000, random: () => random });
    expect(backoff.nextSlow()).toBe(15_000);
    random = 1;
    expect(backoff.nextSlow()).toBe(30_000);
    expect(backoff.nextSoon()).toBe(10_000);
    expect(backoff.next()).toBe(500);
  });

  test('brings those that a router sent away back evenly over ten seconds', () => {
    const pauses = Array.from({ length: 2000 }, () =>
      new Backoff({ minMs: 500, maxMs: 30_000, random: Math.random }).nextSoon(),
    );
    expect(Math.max(...pauses)).toBeLessThan(10_000);
    for (let second = 0; second < 10; second++) {
      // 200 in each, give or take seven standard deviations.
      const count = pauses.filter((ms) => Math.floor(ms / 1000) === second).length;
      expect(Math.abs(count - 200)).toBeLessThan(95);
    }
  });
});
