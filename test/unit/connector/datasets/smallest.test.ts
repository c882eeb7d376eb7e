import { expect, test } from '@jest/globals';
import * as fc from 'fast-check';
import { Smallest } from '../../../../src/connector/datasets/smallest.ts';

test('keeps the first entries in order, and tells whether there were more', () => {
  fc.assert(
    fc.property(
      fc.uniqueArray(fc.string({ maxLength: 3 }), { maxLength: 60 }),
      fc.integer({ min: 1, max: 9 }),
      (keys, count) => {
        const smallest = new Smallest<{ key: string }>(count);
        for (const key of keys) if (smallest.wants(key)) smallest.add({ key });
        const { entries, isCut } = smallest.take();
        expect(entries.map(({ key }) => key)).toEqual(keys.toSorted().slice(0, count));
        expect(isCut).toBe(keys.length > count);
      },
    ),
  );
});
