import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, open, readdir, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { silentLogger } from '../../../src/observability/logger.ts';
import { type NewObject, ObjectIndex } from '../../../src/store/object-index.ts';

const MAC = 'cc-28-aa-01-02-03';
const START = new Date('2026-01-01T00:00:00Z');
const after = (minutes: number) => new Date(START.getTime() + minutes * 60_000);
const object = (key: string, more: Partial<NewObject> = {}): NewObject => ({
  key,
  mac: MAC,
  dataset: 'dir/größe.csv',
  etag: '"1"',
  size: 2 ** 40,
  digest: null,
  lastModified: null,
  createdAt: START,
  ...more,
});

describe('object index', () => {
  let directory: string;
  let path: string;
  let index: ObjectIndex;
  const reopen = () => {
    index?.close();
    index = new ObjectIndex({ path, logger: silentLogger() });
  };

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'relay-index-'));
    path = join(directory, 'state', 'objects.db');
    reopen();
  });
  afterEach(async () => {
    index.close();
    await rm(directory, { recursive: true });
  });

  it('is for its owner alone', async () => {
    index.add(object('a'));
    for (const name of await readdir(join(directory, 'state'))) {
      expect([name, (await stat(join(directory, 'state', name))).mode & 0o777]).toEqual([name, 0o600]);
    }
  });

  it('finds the newest object with the same content, also after a restart', () => {
    const row = object('b', { createdAt: after(1), digest: 'sha-256=:x:', lastModified: '2026-01-01T00:00:00Z' });
    index.add(row);
    index.add(object('a'));
    index.add(object('other etag', { etag: '"2"', createdAt: after(5) }));
    index.add(object('other name', { dataset: 'größe.csv', createdAt: after(5) }));
    index.add(object('other mac', { mac: 'cc-28-aa-01-02-04', createdAt: after(5) }));
    reopen();
    const found = index.find(MAC, 'dir/größe.csv', '"1"');
    expect(found).toEqual({ ...row, lastUsedAt: after(1), urlExpiresAt: null });
    expect(index.find(MAC, 'dir/größe.csv', '"3"')).toBeUndefined();
    index.remove('b');
    index.remove('b');
    expect(index.find(MAC, 'dir/größe.csv', '"1"')?.key).toBe('a');
  });

  it('says that an object is live while a URL of it is', () => {
    index.add(object('a'));
    expect(index.isLive('a', after(5))).toBe(false);
    index.touch('a', { usedAt: after(5), urlExpiresAt: after(65) });
    expect(index.isLive('a', after(64.9))).toBe(true);
    expect(index.isLive('a', after(65))).toBe(false);
    index.touch('a', { usedAt: after(6), urlExpiresAt: after(10) });
    expect(index.isLive('a', after(64.9))).toBe(true);
    expect(index.isLive('unknown', after(0))).toBe(false);
  });

  it('says that an object is live while its upload is pending, and just after it was added', () => {
    index.beginUpload('a');
    expect(index.isLive('a', after(1000))).toBe(true);
    index.endUpload('a');
    expect(index.isLive('a', after(1000))).toBe(false);
    index.add(object('a'));
    expect(index.isLive('a', after(0.9))).toBe(true);
    expect(index.isLive('a', after(1))).toBe(false);
  });

  it('lists what nobody used for long, the longest unused first, and nothing with a live URL', () => {
    for (const key of ['a', 'b', 'c', 'd']) index.add(object(key));
    index.touch('a', { usedAt: after(20) });
    index.touch('b', { usedAt: after(10) });
    index.touch('c', { usedAt: after(10), urlExpiresAt: after(200) });
    index.touch('d', { usedAt: after(100) });
    expect(index.listUnused(after(50), after(100)).map(({ key }) => key)).toEqual(['b', 'a']);
    expect(index.listUnused(after(50), after(200)).map(({ key }) => key)).toEqual(['b', 'c', 'a']);
  });

  it('does not take a use back, and notes those that follow one another only once', () => {
    index.add(object('a'));
    index.touch('a', { usedAt: after(10) });
    index.touch('a', { usedAt: after(5) });
    index.touch('a', { usedAt: after(10.5) });
    expect(index.get('a')?.lastUsedAt).toEqual(after(10));
    index.touch('a', { usedAt: after(11) });
    expect(index.get('a')?.lastUsedAt).toEqual(after(11));
    index.touch('unknown', { usedAt: after(11) });
    expect(index.get('unknown')).toBeUndefined();
  });

  it('remembers uploads that have not ended, over a restart', () => {
    index.beginUpload('a', null, after(1));
    index.beginUpload('b', 'id-b', after(0));
    index.beginUpload('c', null, after(2));
    index.beginUpload('c', 'id-c', after(3));
    index.endUpload('a');
    index.endUpload('a');
    reopen();
    expect(index.listPending()).toEqual([
      { key: 'b', uploadId: 'id-b', startedAt: after(0), isResumable: false },
      { key: 'c', uploadId: 'id-c', startedAt: after(3), isResumable: false },
    ]);
  });

  it('remembers what an upload in parts is of, until it ends or is given up', () => {
    const upload = { key: 'a', uploadId: 'id', partSize: 5, mac: 'm', dataset: 'd', etag: '"1"' };
    const other = { ...upload, key: 'b', etag: '"2"' };
    index.noteResumable(upload, after(1));
    index.noteResumable(other, after(2));
    index.noteResumable({ ...upload, key: 'c', dataset: 'e' }, after(3));
    reopen();
    expect(index.findResumable('m', 'd')).toEqual([other, upload]);
    expect(index.listPending().map(({ key, isResumable }) => [key, isResumable])).toEqual([
      ['a', true],
      ['b', true],
      ['c', true],
    ]);
    index.endUpload('b');
    index.giveUpUpload('a');
    expect(index.findResumable('m', 'd')).toEqual([]);
    expect(index.listPending().map(({ key, isResumable }) => [key, isResumable])).toEqual([
      ['a', false],
      ['c', true],
    ]);
  });

  it.each<[string, (file: string) => Promise<void>]>([
    [
      'is no database',
      (file) => writeFile(file, 'this is no database, and long enough to be taken for one'.repeat(200)),
    ],
    ['is cut short', (file) => truncate(file, 5000)],
    ['has a damaged page', damagePage],
  ])('moves a file aside that %s, and begins anew', async (_how, damage) => {
    for (let number = 0; number < 500; number += 1) index.add(object(`key-${number}`));
    index.close();
    await damage(path);
    reopen();
    expect(index.find(MAC, 'dir/größe.csv', '"1"')).toBeUndefined();
    index.add(object('new'));
    reopen();
    expect(index.get('new')?.size).toBe(2 ** 40);
    const names = await readdir(join(directory, 'state'));
    expect(names.some((name) => name.startsWith('objects.db.damaged-'))).toBe(true);
  });

  it('is refused to a second one, which must not take it for damaged', async () => {
    index.add(object('a'));
    expect(() => new ObjectIndex({ path, logger: silentLogger() })).toThrow(expect.objectContaining({ code: 'usage' }));
    expect(index.get('a')?.key).toBe('a');
    expect((await readdir(join(directory, 'state'))).some((name) => name.includes('damaged'))).toBe(false);
  });

  it('says that it is not available where there can be no file', () => {
    expect(() => new ObjectIndex({ path: '/dev/null/objects.db', logger: silentLogger() })).toThrow(
      expect.objectContaining({ code: 'store_unavailable' }),
    );
  });

  it('closes twice without harm', () => {
    index.close();
    index.close();
    expect(() => index.get('a')).toThrow(expect.objectContaining({ code: 'store_unavailable' }));
  });

  it('keeps what it noted when its process is killed', async () => {
    index.close();
    const child = fork(new URL('object-index-child.ts', import.meta.url), [path], { execArgv: [] });
    await once(child, 'message');
    const exited = once(child, 'exit');
    child.kill('SIGKILL');
    await exited;
    reopen();
    expect(index.get('a')?.urlExpiresAt).toEqual(after(60));
    expect(index.listPending().map(({ key }) => key)).toEqual(['b']);
  });
});

async function damagePage(path: string): Promise<void> {
  const file = await open(path, 'r+');
  try {
    await file.write(Buffer.alloc(4096, 0xff), 0, 4096, 3 * 4096);
  } finally {
    await file.close();
  }
}
