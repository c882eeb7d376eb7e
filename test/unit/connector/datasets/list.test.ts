import { execFile } from 'node:child_process';
import { chmod, mkdir, rename, symlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { platform } from 'node:process';
import { promisify } from 'node:util';
import { describe, expect, test } from '@jest/globals';
import * as fc from 'fast-check';
import { DataDir } from '../../../../src/connector/datasets/data-dir.ts';
import { listDatasets } from '../../../../src/connector/datasets/list.ts';
import { openDataset } from '../../../../src/connector/datasets/open.ts';
import { silentLogger } from '../../../../src/observability/logger.ts';
import { Churn, countDescriptors, Sandbox, watchRace } from '../support-dir.ts';

const run = promisify(execFile);

interface Page {
  cursor?: string;
  limit?: number;
  signal?: AbortSignal;
}

async function list(dataDir: DataDir, { cursor, limit = Infinity, signal }: Page = {}): Promise<string[]> {
  const names: string[] = [];
  const options = { cursor, signal: signal ?? new AbortController().signal, logger: silentLogger() };
  for await (const { name } of listDatasets(dataDir, options)) {
    if (names.length >= limit) break;
    names.push(name);
  }
  return names;
}

const openDir = (dir: string, hidden = false): Promise<DataDir> => DataDir.open(dir, { hidden, platform });

describe('listing datasets', () => {
  test('goes in order of code units of the whole name, not of its parts', async () => {
    const names = ['a', 'a-b', 'a.txt', 'a0', 'A', 'b/a', 'b-a', 'b.a', 'b0', 'z/y/x', 'é', '😀', 'ﬁ'];
    await using sandbox = await Sandbox.create(Object.fromEntries(names.map((name) => [name, name])));
    expect(await list(await openDir(sandbox.data))).toEqual(names.toSorted());
  });

  test('pages through any tree without a gap or a repetition, in order', async () => {
    const part = fc.stringMatching(/^[a-c!.-]{1,3}$/).filter((text) => !text.startsWith('.'));
    const tree = fc.uniqueArray(fc.array(part, { minLength: 1, maxLength: 3 }), {
      minLength: 1,
      maxLength: 25,
      selector: String,
    });
    await fc.assert(
      fc.asyncProperty(tree, fc.integer({ min: 1, max: 7 }), async (paths, limit) => {
        await using sandbox = await Sandbox.create();
        const names: string[] = [];
        for (const parts of paths) {
          // A name that is a file in one path and a directory in another cannot be made.
          const name = parts.join('/');
          await sandbox.write(name, '').then(
            () => names.push(name),
            () => {},
          );
        }
        const dataDir = await openDir(sandbox.data);
        const expected = names.toSorted();
        const found: string[] = [];
        for (;;) {
          const cursor = found.at(-1);
          const page = await list(dataDir, { limit, ...(cursor !== undefined && { cursor }) });
          if (page.length === 0) break;
          found.push(...page);
        }
        expect(found).toEqual(expected);
      }),
      { numRuns: 60 },
    );
  });

  test('a cursor need not be a name that is there', async () => {
    await using sandbox = await Sandbox.create({ 'a/1': '', 'a/3': '', b: '', 'c/1': '' });
    const dataDir = await openDir(sandbox.data);
    expect(await list(dataDir, { cursor: 'a/2' })).toEqual(['a/3', 'b', 'c/1']);
    expect(await list(dataDir, { cursor: 'a' })).toEqual(['a/1', 'a/3', 'b', 'c/1']);
    expect(await list(dataDir, { cursor: 'a/3/x' })).toEqual(['b', 'c/1']);
    expect(await list(dataDir, { cursor: 'zzz' })).toEqual([]);
  });

  test('does not enter what precedes the cursor, nor what follows the page', async () => {
    await using sandbox = await Sandbox.create({ 'a/x': '', 'b/x': '', 'c/x': '' });
    const dataDir = await openDir(sandbox.data);
    const opened: string[] = [];
    const logger = silentLogger();
    const iterator = listDatasets(dataDir, { cursor: 'b', signal: new AbortController().signal, logger });
    const { value } = await iterator.next();
    // What is not entered may change freely: had `a` been read before, or `c` already, the walk would show it.
    await sandbox.write('c/y', '');
    await sandbox.write('a/y', '');
    opened.push(value?.name as string);
    for await (const { name } of iterator) opened.push(name);
    expect(opened).toEqual(['b/x', 'c/x', 'c/y']);
  });

  test('leaves out what would not open, and every name listed opens', async () => {
    await using sandbox = await Sandbox.create({ 'plain.csv': 'p', '.hidden': 'h', 'sub/.git/x': 'g', 'sub/ok': 'o' });
    const { data, top } = sandbox;
    await mkdir(path.join(top, 'outside'));
    await writeFile(path.join(top, 'outside/secret'), 's');
    await symlink('../outside', path.join(data, 'link-out-dir'));
    await symlink('../outside/secret', path.join(data, 'link-out'));
    await symlink('plain.csv', path.join(data, 'link-in'));
    await symlink('sub', path.join(data, 'link-dir'));
    await symlink('nowhere', path.join(data, 'dangling'));
    await run('mkfifo', [path.join(data, 'fifo')]);
    await writeFile(Buffer.concat([Buffer.from(`${data}/`), Buffer.from([0x62, 0xff, 0x64])]), 'not UTF-8');
    const dataDir = await openDir(data);
    const names = await list(dataDir);
    expect(names).toEqual(['link-dir/ok', 'link-in', 'plain.csv', 'sub/ok']);
    for (const name of names) await (await openDataset(dataDir, name as never))[Symbol.asyncDispose]();
    expect(await list(await openDir(data, true))).toEqual(
      ['.hidden', 'link-dir/.git/x', 'link-dir/ok', 'link-in', 'plain.csv', 'sub/.git/x', 'sub/ok'].toSorted(),
    );
  });

  test('ends where links lead round and round', async () => {
    await using sandbox = await Sandbox.create({ 'a/file': '', 'b/file': '' });
    const { data } = sandbox;
    await symlink('.', path.join(data, 'self'));
    await symlink('..', path.join(data, 'a/up'));
    await symlink('../b', path.join(data, 'a/to-b'));
    await symlink('../a', path.join(data, 'b/to-a'));
    const names = await list(await openDir(data));
    expect(names).toContain('a/file');
    expect(names).toContain('b/file');
    expect(names).toContain('a/to-b/file');
    expect(names.length).toBeLessThan(20);
  });

  test('keeps what may not be read, so that it is not taken for gone', async () => {
    await using sandbox = await Sandbox.create({ 'locked.csv': '' });
    await chmod(path.join(sandbox.data, 'locked.csv'), 0);
    expect(await list(await openDir(sandbox.data))).toEqual(['locked.csv']);
  });

  test('of a directory that is gone fails, before and in the middle', async () => {
    await using sandbox = await Sandbox.create({ 'a/1': '', 'b/1': '' });
    const dataDir = await openDir(sandbox.data);
    const iterator = listDatasets(dataDir, { signal: new AbortController().signal, logger: silentLogger() });
    await iterator.next();
    await rename(sandbox.data, `${sandbox.data}-away`);
    await expect(
      (async () => {
        for await (const _ of iterator);
      })(),
    ).rejects.toMatchObject({ code: 'data_dir_unavailable' });
    await expect(list(dataDir)).rejects.toMatchObject({ code: 'data_dir_unavailable' });
  });

  test('never lists what lies outside while directories are swapped for links', async () => {
    await using sandbox = await Sandbox.create({ 'box/file': '' });
    await mkdir(path.join(sandbox.top, 'outside'));
    await writeFile(path.join(sandbox.top, 'outside/secret'), '');
    const dataDir = await openDir(sandbox.data);
    const box = path.join(sandbox.data, 'box');
    const swap = new Churn(async () => {
      await rename(box, `${box}-away`);
      await symlink('../outside', box);
      await Churn.pause();
      await rename(box, `${box}-link`);
      await rename(`${box}-away`, box);
      await rename(`${box}-link`, path.join(sandbox.top, 'used'));
      await Churn.pause();
    });
    const seen = await watchRace(1000, ['box/file'], () => list(dataDir));
    await swap.stop();
    expect(seen).toContain('box/file');
    expect([...seen].filter((name) => name.includes('secret'))).toEqual([]);
  });

  test('stops when it is aborted, and gives back every descriptor', async () => {
    await using sandbox = await Sandbox.create({ 'a/b/c/d/1': '', 'a/b/c/d/2': '' });
    const dataDir = await openDir(sandbox.data);
    const before = await countDescriptors();
    for (let i = 0; i < 20; i++) {
      await list(dataDir, { limit: 1 });
      const abort = new AbortController();
      const iterator = listDatasets(dataDir, { signal: abort.signal, logger: silentLogger() });
      await iterator.next();
      abort.abort();
      await expect(iterator.next()).rejects.toThrow('aborted');
    }
    expect(await countDescriptors()).toBeLessThanOrEqual(before);
  });
});
