import { expect, test } from '@jest/globals';
import { directDisk, isLocalDisk, threadedDisk } from '../../../../src/connector/datasets/disk.ts';

test.each([
  ['/dev/shm', 'linux', true],
  ['/proc', 'linux', false],
  ['/no/such/directory', 'linux', false],
  ['/dev/shm', 'darwin', false],
  ['C:\\data', 'win32', false],
] as const)('%s on %s is on a local disk: %s', async (dir, platform, expected) => {
  expect(await isLocalDisk(dir, platform)).toBe(expected);
});

test('both disks see the same, and fail the same', async () => {
  for (const file of ['/dev/null', '/proc/self/status', '/no/such/file']) {
    const looks = await Promise.all(
      [directDisk, threadedDisk].map(async (disk) => {
        try {
          const { ino, dev, mode } = await disk.stat(file);
          return { ino, dev, mode };
        } catch (error) {
          return (error as NodeJS.ErrnoException).code;
        }
      }),
    );
    expect(looks[0]).toEqual(looks[1]);
  }
});
