import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import { StoreSpace } from '../../../src/store/file-store-space.ts';

interface Disk {
  free: number;
  /** Sizes of the objects that may be evicted, oldest first. */
  spare: number[];
}

function openSpace(disk: Disk, maxBytes = 1000, minFreeBytes = 0): StoreSpace {
  const space = new StoreSpace({
    maxBytes,
    minFreeBytes,
    readFreeBytes: async () => disk.free,
    countEvictable: () => disk.spare.reduce((sum, size) => sum + size, 0),
    evict: async (bytes) => {
      for (let freed = 0; freed < bytes; ) {
        const size = disk.spare.shift() as number;
        space.free(size);
        disk.free += size;
        freed += size;
      }
    },
  });
  space.count(disk.spare.reduce((sum, size) => sum + size, 0));
  return space;
}

describe('space of the file store', () => {
  it('gives up to the limit and no more', async () => {
    const space = openSpace({ free: Infinity, spare: [] });
    const first = await space.reserve(600);
    await expect(space.reserve(401)).rejects.toMatchObject({ code: 'store_full' });
    await space.reserve(400);
    first.release();
    await space.reserve(600);
    expect(space.used).toBe(1000);
  });

  it('keeps free what the disk must keep free, less what is written already', async () => {
    const disk = { free: 1000, spare: [] };
    const space = openSpace(disk, Infinity, 300);
    const reservation = await space.reserve(500);
    await expect(space.reserve(201)).rejects.toMatchObject({ code: 'store_full' });
    reservation.wrote(400);
    disk.free -= 400;
    await expect(space.reserve(201)).rejects.toMatchObject({ code: 'store_full' });
    await space.reserve(200);
  });

  it('evicts as much as it needs, and nothing when that would not do', async () => {
    const disk = { free: Infinity, spare: [300, 300, 300] };
    const space = openSpace(disk);
    await space.reserve(500);
    expect(disk.spare).toEqual([300]);
    await expect(space.reserve(600)).rejects.toMatchObject({ code: 'store_full' });
    expect(disk.spare).toEqual([300]);
  });

  it('gives back what a body of unknown length did not need', async () => {
    const space = openSpace({ free: Infinity, spare: [] });
    const reservation = await space.reserve(0);
    await reservation.grow(500);
    reservation.wrote(200);
    reservation.trim();
    expect([space.used, reservation.bytes]).toEqual([200, 200]);
    reservation.release();
    reservation.release();
    expect(space.used).toBe(0);
  });

  it('never promises more than there is to those who ask at once, and forgets nothing', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.nat(500), { maxLength: 20 }),
        fc.array(fc.nat(200), { maxLength: 5 }),
        async (wants, spare) => {
          const space = openSpace({ free: Infinity, spare: [...spare] });
          const results = await Promise.allSettled(wants.map((bytes) => space.reserve(bytes)));
          expect(space.used).toBeLessThanOrEqual(1000);
          for (const result of results) if (result.status === 'fulfilled') result.value.release();
          const rest = await space.reserve(1000);
          expect(space.used).toBe(1000);
          rest.release();
          expect(space.used).toBe(0);
        },
      ),
    );
  });
});
