import { expect, test } from '@jest/globals';
import { NearestNames } from '../../../../src/cli/app/nearest.ts';

function nearest(wanted: string, names: readonly string[]): string[] {
  const found = new NearestNames(wanted);
  for (const name of names) found.add(name);
  return found.names;
}

test.each([
  ['sales.cvs', ['sales.csv', 'salaries.txt', 'x'], ['sales.csv']],
  ['Sales.CSV', ['sales.csv'], ['sales.csv']],
  ['sales.csv', ['2026/01/sales.csv', 'readme.md'], ['2026/01/sales.csv']],
  ['2025/sales.csv', ['2026/sales.csv', 'other/thing.bin'], ['2026/sales.csv']],
  ['nothing-like-it', ['a', 'b', 'c'], []],
  ['a1', ['a9', 'a8', 'a1x', 'a7', 'a1.csv'], ['a9', 'a8', 'a1x']],
])('%s: of %j come %j', (wanted, names, expected) => {
  expect(nearest(wanted, names)).toEqual(expected);
});
