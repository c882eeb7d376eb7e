import { describe, expect, test } from '@jest/globals';
import type { Clock } from '../../../src/connector/clock.ts';
import type { Link } from '../../../src/connector/link/link.ts';
import { RoundTrips } from '../../../src/connector/round-trips.ts';

/** A link whose measurements are answered by the test. */
function makeLink(): { link: Link; asked: ((ms: number) => void)[] } {
  const asked: ((ms: number) => void)[] = [];
  const measureRoundTrip = (): Promise<number> => new Promise((resolve) => asked.push(resolve));
  return { link: { roundTripMs: 80, measureRoundTrip } as Link, asked };
}

class Hand {
  time = 0;
  link: Link | undefined;
  readonly roundTrips = new RoundTrips(() => this.link, { now: () => this.time } as Clock);
}

describe('round trips', () => {
  test('are measured one at a time, for all who ask', async () => {
    const hand = new Hand();
    const { link, asked } = makeLink();
    hand.link = link;
    const first = hand.roundTrips.measure();
    hand.time = 5000;
    expect(hand.roundTrips.measure()).toBe(first);
    expect(asked).toHaveLength(1);
    asked[0]?.(90);
    expect(await first).toBe(90);
    const second = hand.roundTrips.measure();
    expect(second).not.toBe(first);
    asked[1]?.(95);
    expect(await second).toBe(95);
  });

  test('are measured ten times a second at most, which no router takes for a flood', async () => {
    const hand = new Hand();
    const { link, asked } = makeLink();
    hand.link = link;
    const first = hand.roundTrips.measure();
    asked[0]?.(2);
    await first;
    hand.time = 99;
    expect(hand.roundTrips.measure()).toBe(first);
    hand.time = 100;
    expect(hand.roundTrips.measure()).not.toBe(first);
  });

  test('are measured again after one that nobody answered', async () => {
    const hand = new Hand();
    const { link, asked } = makeLink();
    hand.link = { ...link, measureRoundTrip: () => Promise.reject(new Error('nobody there')) };
    await expect(hand.roundTrips.measure()).rejects.toThrow('nobody there');
    Object.assign(hand.link, { measureRoundTrip: link.measureRoundTrip });
    hand.time = 100;
    const next = hand.roundTrips.measure();
    asked[0]?.(80);
    expect(await next).toBe(80);
  });

  test('are those of the link that there is, whatever became of one before', async () => {
    const hand = new Hand();
    expect([hand.roundTrips.measure(), hand.roundTrips.shortestMs]).toEqual([undefined, undefined]);
    hand.link = makeLink().link;
    const lost = hand.roundTrips.measure();
    const { link, asked } = makeLink();
    hand.link = link;
    const found = hand.roundTrips.measure();
    expect(found).not.toBe(lost);
    asked[0]?.(70);
    expect([await found, hand.roundTrips.shortestMs]).toEqual([70, 80]);
  });
});
