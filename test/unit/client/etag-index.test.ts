import { appendFile, link, mkdir, mkdtemp, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { execFile } from 'node:child_process';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { EtagIndex, type EtagIndexOptions } from '../../../src/client/etag-index.ts';
import { MAC } from './stub-server.ts';

let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'relay-index-'));
});
afterEach(() => rm(root, { recursive: true, force: true }));

const STATE = { size: 2, mtimeMs: 1_769_860_800_500.25 };
const sourceOf = (dataset: string) => ({ mac: MAC, dataset });

/** What an index says of files after all is written and read again. */
async function reread(files: readonly string[], options?: EtagIndexOptions): Promise<(string | undefined)[]> {
  const index = await EtagIndex.open(root, options);
  await index.close();
  return files.map((file) => index.etagOf(file, sourceOf(file), STATE));
}

const index = (): string => join(root, '.relay-index');

describe('an index of ETags', () => {
  test('says in another run what it was told, of that file from there alone', async () => {
    const first = await EtagIndex.open(root);
    first.note('a.csv', sourceOf('a.csv'), STATE, '"a"');
    first.note('north/b.csv', sourceOf('b.csv'), STATE, '"b"');
    await first.close();
    const second = await EtagIndex.open(root);
    expect(second.etagOf('a.csv', sourceOf('a.csv'), STATE)).toBe('"a"');
    expect(second.etagOf('north/b.csv', sourceOf('b.csv'), STATE)).toBe('"b"');
    expect(second.etagOf('a.csv', { mac: 'cc-28-aa-01-02-04', dataset: 'a.csv' }, STATE)).toBeUndefined();
    expect(second.etagOf('a.csv', sourceOf('b.csv'), STATE)).toBeUndefined();
    expect(second.etagOf('a.csv', sourceOf('a.csv'), { ...STATE, size: 3 })).toBeUndefined();
    expect(second.etagOf('a.csv', sourceOf('a.csv'), { ...STATE, mtimeMs: STATE.mtimeMs + 0.25 })).toBeUndefined();
    expect(second.etagOf('c.csv', sourceOf('c.csv'), STATE)).toBeUndefined();
  });

  test('knows what is about to be replaced for outdated, before a kill could keep it from that', async () => {
    const first = await EtagIndex.open(root);
    first.note('a.csv', sourceOf('a.csv'), STATE, '"a"');
    await first.outdate('a.csv', sourceOf('a.csv'), STATE);
    await first.outdate('never.csv', sourceOf('never.csv'), STATE);
    expect(await reread(['a.csv'])).toEqual(['']);
    expect(await readFile(index(), 'utf8')).not.toContain('never');
  });

  test('that is cut anywhere says what is left of it, and takes up more', async () => {
    const names = ['a', 'b', 'c'];
    const first = await EtagIndex.open(root);
    for (const name of names) first.note(name, sourceOf(name), STATE, `"${name}"`);
    await first.close();
    const { size } = await stat(index());
    for (let cut = size; cut >= 0; cut -= 1) {
      await truncate(index(), cut);
      const said = await reread(names);
      for (const [at, etag] of said.entries()) expect([undefined, `"${names[at]}"`]).toContain(etag);
    }
    await appendFile(index(), '{"file":"b","mac":');
    const next = await EtagIndex.open(root);
    next.note('d', sourceOf('d'), STATE, '"d"');
    await next.close();
    expect(await reread(['b', 'd'])).toEqual([undefined, '"d"']);
  });

  test('of two runs at once has what both said', async () => {
    const runs = await Promise.all([EtagIndex.open(root), EtagIndex.open(root)]);
    const names = Array.from({ length: 200 }, (_, number) => `file ${number}`);
    for (const [at, name] of names.entries()) runs[at % 2]?.note(name, sourceOf(name), STATE, '"x"');
    await Promise.all(runs.map((run) => run.close()));
    expect(new Set(await reread(names))).toEqual(new Set(['"x"']));
  });

  test('is written anew where most of it says nothing any more, and remembers no more than it may', async () => {
    const first = await EtagIndex.open(root);
    for (let round = 0; round < 1500; round += 1)
      first.note(`f${round % 3}`, sourceOf(`f${round % 3}`), STATE, `"${round}"`);
    await first.close();
    expect(await reread(['f0', 'f1', 'f2'], { readOnly: true })).toEqual(['"1497"', '"1498"', '"1499"']);
    expect((await readFile(index(), 'utf8')).split('\n').filter(Boolean)).toHaveLength(1500);
    expect(await reread(['f0', 'f1', 'f2'], { maxNotes: 2 })).toEqual([undefined, '"1498"', '"1499"']);
    expect((await readFile(index(), 'utf8')).split('\n').filter(Boolean)).toHaveLength(2);
    expect(await reread(['f0', 'f1', 'f2'])).toEqual([undefined, '"1498"', '"1499"']);
  });

  test.each([
    ['a directory', () => mkdir(index())],
    ['a FIFO', () => promisify(execFile)('mkfifo', [index()])],
    [
      'a file that has another name as well',
      async () => {
        await writeFile(join(root, 'mine'), '');
        await link(join(root, 'mine'), index());
      },
    ],
  ])('is left alone where %s is in its place, and that is told once', async (_, make) => {
    await make();
    const problems: string[] = [];
    const first = await EtagIndex.open(root, { onProblem: (text) => void problems.push(text) });
    first.note('a', sourceOf('a'), STATE, '"a"');
    first.note('b', sourceOf('b'), STATE, '"b"');
    await first.close();
    expect(problems).toEqual([expect.stringContaining('.relay-index')]);
    expect(await readFile(join(root, 'mine'), 'utf8').catch(() => '')).toBe('');
  });

  test('that cannot be written is told, and fails nothing', async () => {
    const problems: string[] = [];
    const first = await EtagIndex.open(root, { onProblem: (text) => void problems.push(text) });
    await rm(root, { recursive: true });
    first.note('a', sourceOf('a'), STATE, '"a"');
    await first.close();
    expect(problems).toHaveLength(1);
    expect(first.etagOf('a', sourceOf('a'), STATE)).toBe('"a"');
  });
});
