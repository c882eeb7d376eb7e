import { afterEach, expect, jest, test } from '@jest/globals';
import type { Mac } from '../../../src/protocol/mac.ts';
import { NodeLines } from '../../../src/router/node-lines.ts';

const MAC = 'cc-28-aa-01-02-03' as Mac;
const MIB = 1024 * 1024;
const known = (lines: NodeLines, way: 'stream' | 'upload' = 'stream') =>
  lines.find(MAC)?.[way].known(performance.now());

/** A transfer that has taken so long, in ms. */
function passed(lines: NodeLines, way: 'stream' | 'upload', bytes: number, ms: number, waitedMs?: number): void {
  const clock = jest.spyOn(performance, 'now').mockReturnValue(1000);
  const passage = lines.follow(MAC, way, bytes);
  clock.mockReturnValue(1000 + ms);
  passage?.carry(bytes);
  passage?.end(waitedMs);
}

afterEach(() => {
  jest.restoreAllMocks();
});

test('a whole transfer tells how fast its way is, and of no other', () => {
  const lines = new NodeLines();
  expect(lines.find(MAC)).toBeUndefined();
  passed(lines, 'stream', 10 * MIB, 1000);
  expect(known(lines)).toBeCloseTo((10 * MIB) / 1000);
  expect(known(lines, 'upload')).toBeUndefined();
  passed(lines, 'upload', 20 * MIB, 1000);
  expect(known(lines, 'upload')).toBeCloseTo((20 * MIB) / 1000);
  expect(lines.find('cc-28-aa-01-02-04' as Mac)).toBeUndefined();
});

test('those that come side by side tell how fast they are together', () => {
  const lines = new NodeLines();
  const clock = jest.spyOn(performance, 'now').mockReturnValue(1000);
  const [one, other] = [lines.follow(MAC, 'stream', undefined), lines.follow(MAC, 'stream', 10 * MIB)];
  one?.carry(10 * MIB);
  other?.carry(10 * MIB);
  clock.mockReturnValue(2000);
  one?.end();
  expect(known(lines)).toBeCloseTo((20 * MIB) / 1000);
});

test('one that is short tells nothing', () => {
  const lines = new NodeLines();
  expect(lines.follow(MAC, 'stream', MIB - 1)).toBeUndefined();
  passed(lines, 'stream', MIB - 1, 1000);
  expect(lines.find(MAC)).toBeUndefined();
});

test('one that was as fast as its app tells nothing', () => {
  const lines = new NodeLines();
  passed(lines, 'stream', 10 * MIB, 1000, 101);
  expect(known(lines)).toBeUndefined();
  passed(lines, 'stream', 10 * MIB, 1000, 100);
  expect(known(lines)).toBeDefined();
});
