import { mkdir, open, rename, symlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { isBelow, isOpenedBelow, isResolvedBelow } from '../../../../src/connector/datasets/containment.ts';
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
    expect(isBelow(root, file)).toBe(expected);
  });

  test.each([
    ['by the open file', isOpenedBelow],
    ['by its path, where the kernel does not say', isResolvedBelow],
  ])('is told %s', async (_, check) => {
    await using sandbox = await Sandbox.create({ inside: 'i', 'sub/file': 's' });
    const { data, top } = sandbox;
    await writeFile(path.join(top, 'outside'), 'o');
    await symlink('../outside', path.join(data, 'link-out'));
    await symlink('inside', path.join(data, 'link-in'));
    const results: Record<string, boolean> = {};
    for (const name of ['inside', 'sub/file', 'link-in', 'link-out']) {
      await using handle = await open(path.join(data, name));
      results[name] = await check(data, path.join(data, name), handle);
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
    expect(await isResolvedBelow(sandbox.data, path.join(box, 'file'), handle)).toBe(false);
    expect(await isOpenedBelow(sandbox.data, path.join(box, 'file'), handle)).toBe(false);
  });
});
