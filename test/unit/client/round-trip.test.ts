import { expect, test } from '@jest/globals';
import { RoundTrip } from '../../../src/client/round-trip.ts';

const never = (): Promise<never> => Promise.reject(new Error('nobody is asked'));

test('believes what was measured, whatever answers took', async () => {
  const far = new RoundTrip(() => 80);
  far.note(1);
  expect(await far.whereFar(never)).toBe(80);
  const near = new RoundTrip(() => 1);
  near.note(80);
  expect(await near.whereFar(never)).toBeUndefined();
});

test('takes the quickest answer for the most that it can be, and a quick one for enough', async () => {
  const trip = new RoundTrip(undefined);
  trip.note(80);
  trip.note(3);
  trip.note(90);
  expect(trip.ms).toBe(3);
  expect(await trip.whereFar(never)).toBeUndefined();
});

test.each([
  ['is far where those are slow as well', [160, 80, 90], 80],
  ['is near where one of them is quick', [40, 3], undefined],
])('asks a little more where all answers were slow: %s', async (_, times, expected) => {
  const trip = new RoundTrip(() => undefined);
  trip.note(400);
  const left = [...times];
  const ask = (): Promise<void> => {
    trip.note(left.shift() ?? Number.NaN);
    return Promise.resolve();
  };
  expect(await trip.whereFar(ask)).toBe(expected);
  expect(left).toEqual([]);
});
