import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { chmod, mkdir, rename, stat, symlink, unlink, utimes, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { platform } from 'node:process';
import { promisify } from 'node:util';
import { describe, expect, test } from '@jest/globals';
import * as fc from 'fast-check';
import { DataDir } from '../../../../src/connector/datasets/data-dir.ts';
import { type Listed, listDatasets } from '../../../../src/connector/datasets/list.ts';
import { openDataset } from '../../../../src/connector/datasets/open.ts';
import { silentLogger } from '../../../../src/observability/logger.ts';
import { NameFilter, type NameWish, rollUp } from '../../../../src/protocol/name-filter.ts';
import { Churn, countDescriptors, Sandbox, watchRace } from '../support-dir.ts';

const run = promisify(execFile);

interface Page extends NameWish {
  cursor?: string;
  delimiter?: '/' | undefined;
  limit?: number;
  signal?: AbortSignal;
}

async function list(
  dataDir: DataDir,
  { cursor, limit = Infinity, signal, delimiter, ...wish }: Page = {},
): Promise<string[]> {
  const names: string[] = [];
  const options = {
    cursor,
    filter: new NameFilter(wish),
    rollUpBeyond: delimiter && (wish.prefix ?? ''),
    signal: signal ?? new AbortController().signal,
    logger: silentLogger(),
  };
  for await (const { key } of listDatasets(dataDir, options)) {
    if (names.length >= limit) break;
    names.push(key);
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

  test('finds by prefix and glob, and rolls up, what all names together would give, page by page', async () => {
    const part = fc.stringMatching(/^[a-c.]{1,2}$/).filter((text) => !text.startsWith('.'));
    const tree = fc.uniqueArray(fc.array(part, { minLength: 1, maxLength: 4 }), {
      minLength: 1,
      maxLength: 25,
      selector: String,
    });
    const prefix = fc.stringMatching(/^[a-c]?[a-c.]?\/?[a-c]?\/?$/).filter((text) => !text.startsWith('/'));
    const glob = fc.option(fc.constantFrom('*', '**', 'a/**', '*/b*', '**/c', 'a/*/**', '{a,b}/*', '?/?'));
    const wish = fc.record({
      prefix,
      glob: glob.map((text) => text ?? undefined),
      delimiter: fc.constantFrom(undefined, '/' as const),
    });
    await fc.assert(
      fc.asyncProperty(tree, wish, fc.integer({ min: 1, max: 4 }), async (paths, { delimiter, ...names }, limit) => {
        await using sandbox = await Sandbox.create();
        for (const parts of paths) await sandbox.write(parts.join('/'), '').catch(() => {});
        const dataDir = await openDir(sandbox.data);
        const filter = new NameFilter(names);
        const accepted = (await list(dataDir)).filter((name) => filter.accepts(name));
        const rolledUp = accepted.map((name) => (delimiter && rollUp(name, names.prefix)) ?? name);
        const found: string[] = [];
        for (;;) {
          const cursor = found.at(-1);
          const page = await list(dataDir, { limit, delimiter, ...names, ...(cursor !== undefined && { cursor }) });
          if (page.length === 0) break;
          found.push(...page);
        }
        expect(found).toEqual([...new Set(rolledUp)].toSorted());
      }),
      { numRuns: 150 },
    );
  });

  test('reads no directory but that of the prefix, and those that the glob leads to', async () => {
    await using sandbox = await Sandbox.create({ 'a/x/1': '', 'a/y/1': '', 'b/1': '', 'c/1': '' });
    const dataDir = await openDir(sandbox.data);
    const all = ['', 'a', 'a/x', 'a/y', 'b', 'c'];
    /** The directories that were read: the system notes when that was, if it was not since the last change. */
    const readBy = async (wish: Page): Promise<string[]> => {
      for (const directory of all) await utimes(path.join(sandbox.data, directory), new Date(0), new Date());
      await list(dataDir, wish);
      const read: string[] = [];
      for (const directory of all) {
        const { atimeMs } = await stat(path.join(sandbox.data, directory));
        if (atimeMs > 0) read.push(directory);
      }
      return read;
    };
    // Where the system does not note it, nothing can be seen.
    if ((await readBy({})).length === 0) return;
    expect(await readBy({})).toEqual(all);
    expect(await readBy({ prefix: 'a/x/' })).toEqual(['a/x']);
    expect(await readBy({ prefix: 'a/x' })).toEqual(['a', 'a/x']);
    expect(await readBy({ glob: 'a/y/*' })).toEqual(['a/y']);
    expect(await readBy({ glob: '*' })).toEqual(['']);
    expect(await readBy({ prefix: 'a/', delimiter: '/' })).toEqual(['a', 'a/x', 'a/y']);
    expect(await readBy({ prefix: '../' })).not.toContain('a');
  });

  test.each(['../', '../outside/', '/', './', 'a/../', '.hidden/', 'a//', 'link/'])(
    'finds nothing by the prefix %j, which leads where nothing is offered',
    async (prefix) => {
      await using sandbox = await Sandbox.create({ 'a/1': '', '.hidden/1': '' });
      await mkdir(path.join(sandbox.top, 'outside'));
      await writeFile(path.join(sandbox.top, 'outside/secret'), '');
      await symlink('../outside', path.join(sandbox.data, 'link'));
      const dataDir = await openDir(sandbox.data);
      expect(await list(dataDir, { prefix })).toEqual([]);
      expect(await list(dataDir, { prefix, delimiter: '/' })).toEqual([]);
    },
  );

  test('finds names by a prefix in another composition than they have on disk', async () => {
    await using sandbox = await Sandbox.create({ 'cafe\u0301/1': '', 'cafe/1': '' });
    const dataDir = await openDir(sandbox.data);
    expect(await list(dataDir, { prefix: 'caf\u00e9/' })).toEqual(['cafe\u0301/1']);
    expect(await list(dataDir, { delimiter: '/' })).toEqual(['cafe/', 'cafe\u0301/']);
  });

  test('rolls up no directory in which nothing is offered', async () => {
    await using sandbox = await Sandbox.create({ 'full/deep/1': '', 'hidden/.git/1': '' });
    await mkdir(path.join(sandbox.data, 'empty/deep'), { recursive: true });
    await symlink('.', path.join(sandbox.data, 'self'));
    const dataDir = await openDir(sandbox.data);
    expect(await list(dataDir, { delimiter: '/' })).toEqual(['full/']);
  });

  test('gives each name of a directory once that has more than are held, by pages and at a stretch', async () => {
    await using sandbox = await Sandbox.create();
    const names = Array.from({ length: 20_000 }, (_, index) => `f${(index * 7919) % 20_000}`);
    for (const name of names) writeFileSync(path.join(sandbox.data, name), '');
    const dataDir = await openDir(sandbox.data);
    const found: string[] = [];
    for (;;) {
      const cursor = found.at(-1);
      const page = await list(dataDir, { limit: 3000, ...(cursor !== undefined && { cursor }) });
      if (page.length === 0) break;
      found.push(...page);
      // Another walk in between is no part of this one.
      expect(await list(dataDir, { limit: 1, glob: '*9' })).toEqual(['f10009']);
    }
    expect(found).toEqual(names.toSorted());
    expect(await list(dataDir)).toEqual(found);
  });

  test('shows in the next page what came into a long directory since the one before, and not what went', async () => {
    await using sandbox = await Sandbox.create();
    for (let index = 10_000; index < 20_000; index++) writeFileSync(path.join(sandbox.data, `f${index}`), '');
    const dataDir = await openDir(sandbox.data);
    expect(await list(dataDir, { limit: 2 })).toEqual(['f10000', 'f10001']);
    await unlink(path.join(sandbox.data, 'f10002'));
    await writeFile(path.join(sandbox.data, 'f10003x'), '');
    // The clock of a file system may stand still for some milliseconds.
    await utimes(sandbox.data, new Date(), new Date());
    expect(await list(dataDir, { limit: 2, cursor: 'f10001' })).toEqual(['f10003', 'f10003x']);
  });

  test('says where it is when it is overdue, and goes on from there without a gap', async () => {
    await using sandbox = await Sandbox.create({ 'a/1': '', 'a/2': '', 'b/c/1': '', 'b/c/2': '', 'b/d/1': '', e: '' });
    const dataDir = await openDir(sandbox.data);
    const found: string[] = [];
    let cursor: string | undefined;
    let pages = 0;
    for (;;) {
      const options = { cursor, isOverdue: () => true, signal: new AbortController().signal, logger: silentLogger() };
      const before = cursor;
      for await (const { kind, key } of listDatasets(dataDir, options)) {
        if (kind === 'dataset') found.push(key);
        else {
          cursor = key;
          break;
        }
      }
      if (cursor === before) break;
      pages++;
    }
    expect(found).toEqual(['a/1', 'a/2', 'b/c/1', 'b/c/2', 'b/d/1', 'e']);
    expect(pages).toBeGreaterThanOrEqual(6);
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
    opened.push((value as Listed).key);
    for await (const { key } of iterator) opened.push(key);
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
