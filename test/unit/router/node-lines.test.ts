import { expect, test } from '@jest/globals';
import type { Mac } from '../../../src/protocol/mac.ts';
import { NodeLines } from '../../../src/router/node-lines.ts';

const MAC = 'cc-28-aa-01-02-03' as Mac;
const MIB = 1024 * 1024;
const known = (lines: NodeLines, way: 'stream' | 'upload' = 'stream') =>
  lines.find(MAC)?.[way].known(performance.now());

test('a whole transfer tells how fast its way is, and of no other', () => {
  const lines = new NodeLines();
  expect(lines.find(MAC)).toBeUndefined();
  lines.note(MAC, 'stream', { bytes: 10 * MIB, ms: 1000 });
  expect(known(lines)).toBeCloseTo((10 * MIB) / 1000);
  expect(known(lines, 'upload')).toBeUndefined();
  lines.note(MAC, 'upload', { bytes: 20 * MIB, ms: 1000 });
  expect(known(lines, 'upload')).toBeCloseTo((20 * MIB) / 1000);
  expect(lines.find('cc-28-aa-01-02-04' as Mac)).toBeUndefined();
});

test.each([
  ['is short', { bytes: MIB - 1, ms: 1000 }],
  ['was as fast as its app', { bytes: 10 * MIB, ms: 1000, waitedMs: 101 }],
])('one that %s tells nothing', (_, came) => {
  const lines = new NodeLines();
  lines.note(MAC, 'stream', came);
  expect(lines.find(MAC)).toBeUndefined();
});
