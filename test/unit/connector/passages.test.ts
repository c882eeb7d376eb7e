import { describe, expect, test } from '@jest/globals';
import { systemClock } from '../../../src/connector/clock.ts';
import { Passages } from '../../../src/connector/passages.ts';
import { recordLog, WARN } from './support-connector.ts';

const KIB = 1024;
const MIB = 1024 * KIB;
const HERE = new URL('https://router.example/a');
const THERE = new URL('https://store.example/a');

function begin() {
  const { logger, lines } = recordLog();
  let now = 0;
  const passages = new Passages({ clock: { ...systemClock, now: () => now }, logger });
  return {
    passages,
    lines,
    wait: (ms: number) => {
      now += ms;
    },
  };
}

describe('what passes on the way to an origin', () => {
  test.each([
    [Infinity, 8 * MIB],
    [8 * MIB + 1, 8 * MIB],
    [8 * MIB, 512 * KIB],
    [2 * MIB, 512 * KIB],
    [512 * KIB, undefined],
    [1, undefined],
  ])('is tried next after %d bytes: %p', (length, next) => {
    const { passages } = begin();
    expect(passages.narrow(HERE, length, 'too_large')).toBe(next);
    expect(passages.limit(HERE)).toBe(next ?? Infinity);
    expect(passages.limit(THERE)).toBe(Infinity);
  });

  test('is not made longer again by a transfer that learns later', () => {
    const { passages } = begin();
    passages.narrow(HERE, 2 * MIB, 'too_large');
    expect(passages.narrow(HERE, 20 * MIB, 'too_large')).toBe(512 * KIB);
  });

  test('is remembered for an hour, and for no longer than a link', () => {
    const { passages, wait } = begin();
    passages.narrow(HERE, 2 * MIB, 'too_large');
    wait(3_599_999);
    expect(passages.limit(HERE)).toBe(512 * KIB);
    wait(1);
    expect(passages.limit(HERE)).toBe(Infinity);
    passages.narrow(HERE, 2 * MIB, 'too_large');
    passages.forget();
    expect(passages.limit(HERE)).toBe(Infinity);
  });

  test('is a warning once for each obstacle, with the setting to change', () => {
    const { passages, lines } = begin();
    passages.narrow(HERE, 20 * MIB, 'too_large');
    passages.narrow(HERE, 8 * MIB, 'too_large');
    passages.forget();
    passages.narrow(HERE, 20 * MIB, 'held');
    passages.narrow(HERE, 20 * MIB, 'too_slow');
    const reasons = lines.filter(({ level }) => level === WARN).map(({ reason }) => reason);
    expect(reasons).toEqual([
      expect.stringContaining('client_max_body_size'),
      expect.stringContaining('proxy_request_buffering off'),
      expect.stringContaining('client_body_timeout'),
    ]);
  });
});
