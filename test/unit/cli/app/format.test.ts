import { expect, test } from '@jest/globals';
import { formatBytes, formatDuration, formatSince, formatTable } from '../../../../src/cli/app/format.ts';

test.each([
  [0, '0 B'],
  [1023, '1023 B'],
  [1024, '1.0 KiB'],
  [1536, '1.5 KiB'],
  [1024 * 1024 - 1, '1.0 MiB'],
  [1024 ** 3, '1.0 GiB'],
  [5 * 1024 ** 5, '5.0 PiB'],
])('%d bytes are %s', (bytes, text) => {
  expect(formatBytes(bytes)).toBe(text);
});

test.each([
  [40, '0 s'],
  [440, '0.4 s'],
  [59_400, '59 s'],
  [59_900, '1 min'],
  [200_000, '3 min 20 s'],
  [7_500_000, '2 h 5 min'],
  [90_000_000, '1 d 1 h'],
])('%d ms are %s', (ms, text) => {
  expect(formatDuration(ms)).toBe(text);
});

test('a time is told as how long ago and when', () => {
  const now = new Date('2026-01-31T14:05:00Z');
  expect(formatSince('2026-01-31T12:00:00.123Z', now)).toBe('2 h 5 min ago (2026-01-31T12:00:00Z)');
  // Clocks differ.
  expect(formatSince('2026-01-31T15:00:00Z', now)).toBe('0 s ago (2026-01-31T15:00:00Z)');
  expect(formatSince('whenever', now)).toBe('whenever');
});

test('columns are aligned, without blanks at the end of a line', () => {
  expect(
    formatTable([
      ['A', 'B'],
      ['long', 'x'],
      ['é', ''],
    ]),
  ).toBe('A     B\nlong  x\né\n');
});
