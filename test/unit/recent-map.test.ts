import { expect, test } from '@jest/globals';
import * as fc from 'fast-check';
import { RecentMap } from '../../src/recent-map.ts';

test('keeps the keys that were used last, and at most twice as many', () => {
  const operation = fc.record({ key: fc.integer({ min: 0, max: 12 }), kind: fc.constantFrom('set', 'get', 'delete') });
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 5 }), fc.array(operation, { maxLength: 60 }), (least, operations) => {
      const map = new RecentMap<number, string>(least);
      /** Those that are there for sure, the last used at the end. */
      let recent: number[] = [];
      const all = new Map<number, string>();
      for (const [step, { key, kind }] of operations.entries()) {
        const isSure = recent.slice(-least).includes(key);
        let isUsed = kind === 'set';
        if (kind === 'set') {
          map.set(key, `${step}`);
          all.set(key, `${step}`);
        } else if (kind === 'delete') {
          map.delete(key);
          all.delete(key);
        } else {
          const value = map.get(key);
          isUsed = value !== undefined;
          if (isSure) expect(value).toBe(all.get(key));
          if (value !== undefined) expect(value).toBe(all.get(key));
        }
        // One that is deleted was still used, and counts among the last.
        if (isUsed) recent = [...recent.filter((each) => each !== key), key];
        const values = [...map.values()];
        expect(values.length).toBeLessThanOrEqual(2 * least);
        expect(new Set(values).size).toBe(values.length);
      }
      for (const key of recent.slice(-least)) expect(map.get(key)).toBe(all.get(key));
    }),
    { numRuns: 2000 },
  );
});

test('is empty once it is cleared', () => {
  const map = new RecentMap<string, number>(2);
  for (const key of ['a', 'b', 'c']) map.set(key, 1);
  map.clear();
  expect([...map.values()]).toEqual([]);
  expect(map.get('c')).toBeUndefined();
});
