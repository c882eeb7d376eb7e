import { describe, expect, test } from '@jest/globals';
import { requireAge } from '../../../../src/connector/datasets/age.ts';
import { RelayError } from '../../../../src/protocol/errors.ts';
import { named } from '../support-dir.ts';

const NOW = Date.UTC(2026, 5, 1, 12);
const FIVE_MINUTES = 300_000;

/** What becomes of a dataset that changed so long before `NOW`. */
function lookAt(ageMs: number, minAgeMs: number): RelayError | undefined {
  const mtimeMs = NOW - ageMs;
  try {
    requireAge({ name: named('a.csv'), mtimeMs, modifiedAt: new Date(mtimeMs) }, minAgeMs, NOW);
    return undefined;
  } catch (error) {
    return RelayError.from(error);
  }
}

describe('a dataset that has to be left alone for five minutes', () => {
  test.each([FIVE_MINUTES, FIVE_MINUTES + 1, 365 * 24 * 3_600_000])('is given %d ms after its change', (ageMs) => {
    expect(lookAt(ageMs, FIVE_MINUTES)).toBeUndefined();
  });

  test.each([
    [FIVE_MINUTES - 1, 1],
    [FIVE_MINUTES - 1001, 2],
    [12_000, 288],
    [0, 300],
    // Ahead of the clock: that may be any time in the last five minutes.
    [-3_600_000, 3900],
  ])('is refused %d ms after it, until it is old enough in %d s', (ageMs, seconds) => {
    const error = lookAt(ageMs, FIVE_MINUTES);
    expect([error?.code, error?.status, error?.exitCode, error?.retryable]).toEqual([
      'dataset_too_recent',
      503,
      8,
      true,
    ]);
    expect(error?.details.retry_after).toBe(seconds);
  });

  test('tells when it was changed and what is asked for', () => {
    expect(lookAt(12_000, FIVE_MINUTES)?.message).toBe(
      'the dataset "a.csv" was last changed at 2026-06-01T11:59:48.000Z, 12 s ago; it is given once it has not changed for 300 s',
    );
  });

  test('tells of a time of change that lies ahead of the clock', () => {
    expect(lookAt(-3_600_000, FIVE_MINUTES)?.message).toBe(
      'the dataset "a.csv" was last changed at 2026-06-01T13:00:00.000Z, 3600 s ahead of this node\'s clock, which says 2026-06-01T12:00:00.000Z; it is given once it has not changed for 300 s',
    );
  });
});

test('without a least age it is given, also where its time of change lies ahead', () => {
  for (const ageMs of [0, -3_600_000]) expect(lookAt(ageMs, 0)).toBeUndefined();
});
