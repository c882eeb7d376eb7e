import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { formatContentRange, parseRange } from '../../../src/http/range.ts';

describe('a Range field', () => {
  // RFC 9110 §14.1.2, on a representation of 10,000 bytes.
  test.each([
    ['bytes=0-499', 0, 500],
    ['bytes=500-999', 500, 500],
    ['bytes=-500', 9500, 500],
    ['bytes=9500-', 9500, 500],
    ['bytes=0-0', 0, 1],
    ['bytes=-1', 9999, 1],
    ['bytes=0-', 0, 10_000],
    ['bytes=0-9999', 0, 10_000],
    ['bytes=9000-20000', 9000, 1000],
    ['bytes=-20000', 0, 10_000],
    ['BYTES=1-2', 1, 2],
    ['bytes= 1-2 ', 1, 2],
    ['bytes=00-01', 0, 2],
    ['bytes=0-9007199254740993', 0, 10_000],
    ['bytes=-9007199254740993', 0, 10_000],
    [`bytes=0-${'9'.repeat(400)}`, 0, 10_000],
    [`bytes=-${'9'.repeat(400)}`, 0, 10_000],
  ])('%s of 10,000 bytes', (field, offset, length) => {
    expect(parseRange(field, 10_000)).toEqual({ offset, length });
  });

  test.each([
    ['bytes=10000-', 10_000],
    ['bytes=10000-10001', 10_000],
    ['bytes=9007199254740993-', 10_000],
    [`bytes=${'9'.repeat(400)}-`, 10_000],
    [`bytes=${'9'.repeat(400)}-${'9'.repeat(400)}`, 10_000],
    ['bytes=-0', 10_000],
    ['bytes=0-', 0],
    ['bytes=0-0', 0],
    ['bytes=-0', 0],
  ])('%s of %i bytes lies outside', (field, size) => {
    expect(parseRange(field, size)).toBe('unsatisfiable');
  });

  test.each([
    undefined,
    '',
    'bytes',
    'bytes=',
    'bytes=-',
    'bytes=2-1',
    'bytes=a-b',
    'bytes=1',
    'bytes=1-2-3',
    'bytes=+1-2',
    'bytes=-1-2',
    'bytes=1.5-2',
    'bytes=0x1-2',
    'bytes=1 - 2',
    'bytes=\u0661-\u0662',
    'bytes=0-0,-1',
    'bytes=500-600,601-999',
    'lines=1-2',
    'bytes: 1-2',
    'bytes=1-2\nbytes=3-4',
  ])('%p gets the whole', (field) => {
    expect(parseRange(field, 10_000)).toBeUndefined();
  });

  test('for the end of what is empty gets the whole, since no Content-Range could name it', () => {
    expect(parseRange('bytes=-1', 0)).toBeUndefined();
  });

  const number = fc.oneof(fc.nat(200).map(String), fc.bigInt({ min: 0n, max: 2n ** 70n }).map(String), fc.constant(''));
  const fields = fc.oneof(
    fc.tuple(number, number).map(([first, last]) => `bytes=${first}-${last}`),
    fc.string().map((text) => `bytes=${text}`),
    fc.string(),
  );
  const sizes = fc.oneof(fc.nat(200), fc.maxSafeNat());

  test('that is accepted lies inside, whatever it said', () => {
    fc.assert(
      fc.property(fields, sizes, (field, size) => {
        const range = parseRange(field, size);
        if (range === undefined || range === 'unsatisfiable') return;
        expect(Number.isSafeInteger(range.offset) && Number.isSafeInteger(range.length)).toBe(true);
        expect(range.offset).toBeGreaterThanOrEqual(0);
        expect(range.length).toBeGreaterThan(0);
        expect(range.offset + range.length).toBeLessThanOrEqual(size);
      }),
      { numRuns: 2000 },
    );
  });

  test('inside the size is taken exactly as it was said', () => {
    fc.assert(
      fc.property(fc.maxSafeNat(), fc.maxSafeNat(), fc.maxSafeNat(), (...numbers) => {
        const [first, last, size] = numbers.toSorted((a, b) => a - b) as [number, number, number];
        fc.pre(last < size);
        expect(parseRange(`bytes=${first}-${last}`, size)).toEqual({ offset: first, length: last - first + 1 });
      }),
    );
  });
});

describe('Content-Range', () => {
  test.each([
    [{ offset: 0, length: 500 }, 1234, 'bytes 0-499/1234'],
    [{ offset: 734, length: 500 }, 1234, 'bytes 734-1233/1234'],
    [{ offset: 42, length: 1 }, 1234, 'bytes 42-42/1234'],
  ])('%p of %i is %s', (range, size, text) => {
    expect(formatContentRange(range, size)).toBe(text);
  });
});
