import { describe, expect, test } from '@jest/globals';
import { Width } from '../../../../src/connector/patterns/width.ts';

const CHUNK = 1_000_000;

/** Sends chunks over a line that carries `rate(width)` bytes in a second, and returns the widths that were used. */
function play(rate: (width: number) => number, chunks: number, most = 16): number[] {
  let now = 0;
  const width = new Width({ most, chunkBytes: CHUNK, roundTripMs: 80, now });
  const used: number[] = [];
  for (let count = 0; count < chunks; count++) {
    now += (CHUNK / rate(width.value)) * 1000;
    used.push(width.value);
    width.note(CHUNK, now);
  }
  return used;
}

const usual = (used: number[]): number => used.slice(-200).toSorted((a, b) => a - b)[100] as number;

describe('the number of chunks side by side', () => {
  test('grows to the most while each brings its share', () => {
    expect(Math.max(...play((width) => width * 2_000_000, 300))).toBe(16);
    expect(usual(play((width) => width * 2_000_000, 1000))).toBe(16);
  });

  test('shrinks to the least where the line itself is the limit', () => {
    expect(usual(play(() => 1_000_000, 2000))).toBeLessThanOrEqual(4);
  });

  test('finds about what fills a line', () => {
    const found = usual(play((width) => Math.min(width * 10_000_000, 60_000_000), 2000));
    expect(found).toBeGreaterThanOrEqual(6);
    expect(found).toBeLessThanOrEqual(12);
  });

  test('is never more than allowed', () => {
    expect(Math.max(...play((width) => width * 2_000_000, 500, 3))).toBe(3);
  });
});
