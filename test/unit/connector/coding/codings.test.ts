import { randomBytes } from 'node:crypto';
import { expect, test } from '@jest/globals';
import { systemClock } from '../../../../src/connector/clock.ts';
import { type CodingPlan, Codings } from '../../../../src/connector/coding/codings.ts';
import type { OpenDataset } from '../../../../src/connector/datasets/open.ts';
import { LineRate } from '../../../../src/http/line-rate.ts';

const MIB = 1024 * 1024;
const TEXT = Buffer.alloc(20 * MIB, 'time,sensor,value\n2026-01-01T00:00,17,21.5\n');
const NOISE = randomBytes(2 * MIB);

/** Lines by their rates, in bytes a millisecond. */
const RATES = { slow: 1000, middling: 12_000, fast: 10_000_000 };

function look(content: Buffer, rate?: number, accepted = ['zstd', 'gzip']): Promise<CodingPlan | undefined> {
  const lineRate = new LineRate();
  if (rate !== undefined) lineRate.note({ bytes: rate * 1000, ms: 1000, madeMs: 0 }, systemClock.now());
  const dataset = {
    facts: { etag: '"1"' },
    read: (buffer: Buffer, length: number, position: number) =>
      Promise.resolve(content.copy(buffer, 0, position, position + length)),
  } as unknown as OpenDataset;
  const codings = new Codings({ lineRate, clock: systemClock, mayCode: () => true });
  return codings.plan(dataset, { start: 0, end: content.length }, accepted);
}

test.each([
  ['slow', { coding: 'zstd', effort: 'thorough' }],
  ['middling', { coding: 'zstd', effort: 'quick' }],
  ['fast', undefined],
] as const)('a text over a %s line goes by %j', async (line, encoding) => {
  expect((await look(TEXT, RATES[line]))?.next().encoding).toEqual(encoding);
});

test('what does not become smaller is never coded', async () => {
  for (const rate of [undefined, ...Object.values(RATES)]) expect(await look(NOISE, rate)).toBeUndefined();
});

test('what is small is not looked at, but over a line on which it takes long', async () => {
  expect(await look(TEXT.subarray(0, 20_000))).toBeUndefined();
  expect(await look(TEXT.subarray(0, 20_000), RATES.middling)).toBeUndefined();
  expect((await look(TEXT.subarray(0, 20_000), RATES.slow))?.next().encoding).toBeDefined();
});

test('while nobody knows the line, a little goes plain', async () => {
  expect((await look(TEXT))?.next()).toEqual({ encoding: undefined, maxBytes: 64 * 1024 });
});

test.each([
  [undefined, { coding: 'zstd', effort: 'quick' }],
  [RATES.slow, { coding: 'zstd', effort: 'thorough' }],
  [RATES.middling, { coding: 'zstd', effort: 'quick' }],
  [RATES.fast, undefined],
] as const)(
  'one body that cannot be divided, over a line of %s bytes a millisecond, goes by %j',
  async (rate, encoding) => {
    expect((await look(TEXT, rate))?.whole).toEqual(encoding);
  },
);

test('only what the other side takes is used', async () => {
  expect(await look(TEXT, RATES.slow, [])).toBeUndefined();
  expect(await look(TEXT, RATES.slow, ['br'])).toBeUndefined();
  expect((await look(TEXT, RATES.slow, ['gzip']))?.next().encoding?.coding).toBe('gzip');
});
