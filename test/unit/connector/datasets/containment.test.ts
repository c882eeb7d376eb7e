import { mkdir, open, rename, symlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { directDisk, threadedDisk } from '../../../../src/connector/datasets/disk.ts';
import { isBelow, isOpenedBelow } from '../../../../src/connector/datasets/containment.ts';
import { Sandbox } from '../support-dir.ts';

describe('what lies below a directory', () => {
  test.each([
    ['/data', '/data/a', true],
    ['/data', '/data/a/b', true],
    ['/data', '/data/..a', true],
    ['/data', '/data', false],
    ['/data', '/', false],
    ['/data', '/data-sibling/a', false],
    ['/data', '/other/data/a', false],
    ['/', '/a', true],
  ])('%s, %s: %s', (root, file, expected) => {
    expect(isBelow(root, file, 'linux')).toBe(expected);
  });

  test.each([
    ['C:\\data', 'C:\\data\\a', true],
    ['C:\\data', 'C:\\data\\sub\\..a', true],
    ['C:\\data', 'C:\\data', false],
    ['C:\\data', 'C:\\data-sibling\\a', false],
    ['C:\\data', 'C:\\data.', false],
    ['C:\\data', 'C:\\', false],
    // Where a directory tells cases apart, as it can since Windows 10, these are two.
    ['C:\\data', 'C:\\DATA\\a', false],
    // What a junction or a link may lead to: another drive, a share, a volume without a letter.
    ['C:\\data', 'D:\\data\\a', false],
    ['C:\\data', '\\\\server\\share\\data\\a', false],
    ['C:\\data', '\\\\?\\Volume{01234567-89ab-cdef-0123-456789abcdef}\\a', false],
    ['C:\\data', '\\\\?\\C:\\data\\a', false],
    ['D:\\', 'D:\\a', true],
    ['D:\\', 'D:\\', false],
    ['D:\\', 'C:\\a', false],
    ['\\\\server\\share', '\\\\server\\share\\a', true],
    ['\\\\server\\share\\', '\\\\server\\share\\a', true],
    ['\\\\server\\share', '\\\\server\\share2\\a', false],
    ['\\\\server\\share', '\\\\other\\share\\a', false],
  ])('on Windows: %s, %s: %s', (root, file, expected) => {
    expect(isBelow(root, file, 'win32')).toBe(expected);
  });

  test.each([
    ['by the open file', 'linux', threadedDisk],
    ['by the open file, at once', 'linux', directDisk],
    ['by its path, where the kernel does not say', 'darwin', threadedDisk],
  ] as const)('is told %s', async (_, platform, disk) => {
    await using sandbox = await Sandbox.create({ inside: 'i', 'sub/file': 's' });
    const { data, top } = sandbox;
    await writeFile(path.join(top, 'outside'), 'o');
    await symlink('../outside', path.join(data, 'link-out'));
    await symlink('inside', path.join(data, 'link-in'));
    const results: Record<string, boolean> = {};
    for (const name of ['inside', 'sub/file', 'link-in', 'link-out']) {
      await using handle = await open(path.join(data, name));
      const file = { descriptor: handle.fd, disk };
      results[name] = await isOpenedBelow(data, path.join(data, name), file, platform);
    }
    expect(results).toEqual({ inside: true, 'sub/file': true, 'link-in': true, 'link-out': false });
  });

  test('is not told by a path that was put back after something outside was opened through it', async () => {
    await using sandbox = await Sandbox.create({ 'box/file': 'inside' });
    const box = path.join(sandbox.data, 'box');
    await mkdir(path.join(sandbox.top, 'outside'));
    await writeFile(path.join(sandbox.top, 'outside/file'), 'outside');
    await rename(box, `${box}-away`);
    await symlink('../outside', box);
    await using handle = await open(path.join(box, 'file'));
    await rename(box, path.join(sandbox.top, 'used'));
    await rename(`${box}-away`, box);
    for (const platform of ['darwin', 'linux'] as const) {
      const file = { descriptor: handle.fd, disk: threadedDisk };
      expect(await isOpenedBelow(sandbox.data, path.join(box, 'file'), file, platform)).toBe(false);
    }
  });
});
