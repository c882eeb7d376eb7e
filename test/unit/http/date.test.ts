import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { formatLastModified, parseHttpDate } from '../../../src/http/date.ts';

const NOW = new Date('2026-06-01T00:00:00Z');

describe('an HTTP date', () => {
  // RFC 9110 §5.6.7.
  test.each([
    'Sun, 06 Nov 1994 08:49:37 GMT',
    'Sunday, 06-Nov-94 08:49:37 GMT',
    'Sun Nov  6 08:49:37 1994',
    '  Sun, 06 Nov 1994 08:49:37 GMT\t',
  ])('is read in each of its formats: %s', (field) => {
    expect(parseHttpDate(field, NOW)?.toISOString()).toBe('1994-11-06T08:49:37.000Z');
  });

  test.each([
    ['Saturday, 01-Jun-76 00:00:00 GMT', '2076-06-01T00:00:00.000Z'],
    ['Sunday, 02-Jun-76 00:00:00 GMT', '1976-06-02T00:00:00.000Z'],
    ['Sunday, 01-Jan-00 00:00:00 GMT', '2000-01-01T00:00:00.000Z'],
    ['Tuesday, 29-Feb-00 00:00:00 GMT', '2000-02-29T00:00:00.000Z'],
    ['Sat, 31 Dec 2016 23:59:60 GMT', '2017-01-01T00:00:00.000Z'],
  ])('%s is %s', (field, iso) => {
    expect(parseHttpDate(field, NOW)?.toISOString()).toBe(iso);
  });

  test.each([
    '',
    'now',
    '0',
    '1994',
    '1994-11-06T08:49:37Z',
    'Sun, 6 Nov 1994 08:49:37 GMT',
    'Sun, 06 Nov 1994 08:49:37',
    'Sun, 06 Nov 1994 08:49:37 UTC',
    'Sun, 06 Nov 1994 08:49:37 +0000',
    'sun, 06 nov 1994 08:49:37 gmt',
    'Sun, 06 Nov 94 08:49:37 GMT',
    'Sun, 31 Feb 1994 08:49:37 GMT',
    'Sun, 00 Nov 1994 08:49:37 GMT',
    'Sun, 06 Nov 1994 24:00:00 GMT',
    'Sun, 06 Nov 1994 08:60:00 GMT',
    'Sun, 06 Nov 0094 08:49:37 GMT',
    'Monday, 29-Feb-99 00:00:00 GMT',
    'Sun Nov 06 08:49:37 1994 GMT',
  ])('is nothing else: %p', (field) => {
    expect(parseHttpDate(field, NOW)).toBeUndefined();
  });

  test('is read as it was written', () => {
    const seconds = fc.integer({ min: Date.UTC(1000, 0) / 1000, max: Date.UTC(9999, 11, 31) / 1000 });
    fc.assert(
      fc.property(seconds, (time) => {
        const date = new Date(time * 1000);
        expect(parseHttpDate(date.toUTCString(), NOW)).toEqual(date);
      }),
    );
  });
});

test('Last-Modified is never later than the answer that has it', () => {
  expect(formatLastModified(new Date('2026-05-31T12:00:00.999Z'), NOW)).toBe('Sun, 31 May 2026 12:00:00 GMT');
  expect(formatLastModified(new Date('2026-06-02T12:00:00Z'), NOW)).toBe('Mon, 01 Jun 2026 00:00:00 GMT');
});
