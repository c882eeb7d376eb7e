import { describe, expect, test } from '@jest/globals';
import { Warm } from '../../../../src/connector/datasets/warm.ts';

const PAGE = 4096;

describe('what is in memory', () => {
  test('is what was looked at within 5 s', () => {
    let now = 0;
    const warm = new Warm(() => now);
    expect(warm.hasLook('/data/a')).toBe(false);
    warm.noteLook('/data/a');
    now = 4999;
    expect(warm.hasLook('/data/a')).toBe(true);
    expect(warm.hasLook('/data/b')).toBe(false);
    now = 5000;
    expect(warm.hasLook('/data/a')).toBe(false);
  });

  test.each([
    ['the piece itself', '"a"', 10, 5000, true],
    ['a part of it', '"a"', 20, 8, true],
    ['the rest of its pages', '"a"', 0, 2 * PAGE, true],
    ['a byte of the page behind it', '"a"', 2 * PAGE - 1, 2, false],
    ['another page', '"a"', 3 * PAGE, 1, false],
    ['the same piece of another state', '"b"', 10, 5000, false],
  ])('has, of a piece that was read, %s: %#', (_, etag, position, length, expected) => {
    const warm = new Warm(() => 0);
    warm.notePiece('"a"', 10, 5000);
    expect(warm.hasPiece(etag, position, length)).toBe(expected);
  });

  test('is forgotten after 5 s, and long pieces at once', () => {
    let now = 0;
    const warm = new Warm(() => now);
    warm.notePiece('"a"', 0, PAGE);
    warm.notePiece('"a"', 0, 1024 * 1024);
    expect(warm.hasPiece('"a"', 0, 1024 * 1024)).toBe(false);
    now = 5000;
    expect(warm.hasPiece('"a"', 0, PAGE)).toBe(false);
  });
});
