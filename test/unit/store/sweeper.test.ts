import { EventEmitter, once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { silentLogger } from '../../../src/observability/logger.ts';
import { ObjectIndex } from '../../../src/store/object-index.ts';
import { Sweeper } from '../../../src/store/sweeper.ts';
import { MemoryStore } from './memory-store.ts';

const HOUR_MS = 3_600_000;
const START = new Date('2026-01-01T00:00:00Z');
const hours = (count: number) => new Date(START.getTime() + count * HOUR_MS);

describe('sweeper', () => {
  let directory: string;
  let index: ObjectIndex;
  let store: MemoryStore;
  let time: Date;
  const active = new Set<string>();
  const sweepers: Sweeper[] = [];

  const makeSweeper = (intervalMs = HOUR_MS) => {
    const sweeper = new Sweeper({
      store,
      index,
      intervalMs,
      isActive: (key) => active.has(key),
      logger: silentLogger(),
      now: () => time,
    });
    sweepers.push(sweeper);
    return sweeper;
  };
  const addObject = (key: string, createdAt = START) => {
    store.put(key, createdAt);
    index.add({
      key,
      mac: 'cc-28-aa-01-02-03',
      dataset: key,
      etag: '"1"',
      size: 1,
      digest: null,
      lastModified: null,
      createdAt,
    });
  };
  const kept = () => [...store.objects.keys()];

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'relay-sweeper-'));
    index = new ObjectIndex({ path: join(directory, 'objects.db'), logger: silentLogger() });
    store = new MemoryStore();
    time = START;
    active.clear();
  });
  afterEach(async () => {
    await Promise.all(sweepers.splice(0).map((sweeper) => sweeper.close()));
    index.close();
    await rm(directory, { recursive: true });
  });

  it('removes an object a day after its last use, from the store and from the index', async () => {
    addObject('a');
    addObject('used');
    index.touch('used', { usedAt: hours(2) });
    const sweeper = makeSweeper();
    time = hours(23.9);
    expect(await sweeper.sweepOnce()).toEqual({ removed: 0, aborted: 0 });
    time = hours(24);
    expect(await sweeper.sweepOnce()).toEqual({ removed: 1, aborted: 0 });
    expect(kept()).toEqual(['used']);
    expect(index.get('a')).toBeUndefined();
  });

  it('keeps an object with a live URL, however old, and one that a request is busy with', async () => {
    for (const key of ['live', 'busy', 'a']) addObject(key);
    index.touch('live', { usedAt: START, urlExpiresAt: hours(200) });
    active.add('busy');
    time = hours(100);
    await makeSweeper().sweepOnce();
    expect(kept()).toEqual(['live', 'busy']);
  });

  it('removes what the index does not know, once it is a day old', async () => {
    store.put('old', START);
    store.put('new', hours(1));
    store.put('busy', START);
    store.put('pending', START);
    active.add('busy');
    const sweeper = makeSweeper();
    index.beginUpload('pending', null, hours(24));
    time = hours(24.5);
    expect(await sweeper.sweepOnce()).toEqual({ removed: 1, aborted: 0 });
    expect(kept()).toEqual(['new', 'busy', 'pending']);
  });

  it('gives up at once what a former process left unfinished', async () => {
    index.beginUpload('parts', 'id', START);
    index.beginUpload('whole', null, START);
    index.beginUpload('done', null, START);
    store.begin('parts', 'id', START);
    store.put('whole', START);
    addObject('done');
    time = hours(0.1);
    const sweeper = makeSweeper();
    index.beginUpload('mine', 'id-2', time);
    store.begin('mine', 'id-2', time);
    expect(await sweeper.sweepOnce()).toEqual({ removed: 0, aborted: 3 });
    expect([...store.uploads.keys()]).toEqual(['id-2']);
    expect(kept()).toEqual(['done']);
    expect(index.listPending().map(({ key }) => key)).toEqual(['mine']);
  });

  it('leaves what can be gone on with for a day', async () => {
    const upload = { key: 'parts', uploadId: 'id', partSize: 5, mac: 'm', dataset: 'd', etag: '"1"' };
    index.noteResumable(upload, START);
    store.begin('parts', 'id', START);
    time = hours(23);
    const sweeper = makeSweeper();
    expect(await sweeper.sweepOnce()).toEqual({ removed: 0, aborted: 0 });
    expect(index.findResumable('m', 'd')).toEqual([upload]);
    time = hours(25);
    expect(await sweeper.sweepOnce()).toEqual({ removed: 0, aborted: 1 });
    expect([store.uploads.size, index.listPending(), index.findResumable('m', 'd')]).toEqual([0, [], []]);
  });

  it('gives up in the next sweep what could not be removed when it failed', async () => {
    const sweeper = makeSweeper();
    time = hours(0.1);
    index.beginUpload('mine', 'id', time);
    store.begin('mine', 'id', time);
    expect(await sweeper.sweepOnce()).toMatchObject({ aborted: 0 });
    index.abandonUpload('mine');
    expect(await sweeper.sweepOnce()).toMatchObject({ aborted: 1 });
    expect([...store.uploads.keys()]).toEqual([]);
    expect(index.listPending()).toEqual([]);
  });

  it('gives up unfinished uploads of a day ago that nobody is busy with, known or not', async () => {
    const sweeper = makeSweeper();
    for (const [key, at] of [
      ['known', 0],
      ['busy', 0],
      ['young', 10],
    ] as const) {
      index.beginUpload(key, `id-${key}`, hours(at));
      store.begin(key, `id-${key}`, hours(at));
    }
    store.begin('unknown', 'id-unknown', START);
    store.begin('unknown and young', 'id-other', hours(10));
    active.add('busy');
    time = hours(24);
    expect(await sweeper.sweepOnce()).toEqual({ removed: 0, aborted: 2 });
    expect([...store.uploads.keys()]).toEqual(['id-busy', 'id-young', 'id-other']);
  });

  it('goes on with the others when one cannot be removed, and tries that again', async () => {
    for (const key of ['stuck', 'a']) addObject(key);
    store.stuck.add('stuck');
    const sweeper = makeSweeper();
    time = hours(24);
    expect(await sweeper.sweepOnce()).toEqual({ removed: 1, aborted: 0 });
    expect(kept()).toEqual(['stuck']);
    store.stuck.clear();
    expect(await sweeper.sweepOnce()).toEqual({ removed: 1, aborted: 0 });
  });

  it('says when the store cannot be listed', async () => {
    store.isReachable = false;
    await expect(makeSweeper().sweepOnce()).rejects.toMatchObject({ code: 'store_unavailable' });
  });

  it('sweeps when it starts and then again and again, also after a sweep that failed', async () => {
    const sweeps = new EventEmitter();
    const list = store.list.bind(store);
    store.list = () => {
      sweeps.emit('sweep');
      return list();
    };
    store.isReachable = false;
    const sweeper = makeSweeper(1);
    sweeper.start();
    sweeper.start();
    store.isReachable = true;
    await once(sweeps, 'sweep');
    await once(sweeps, 'sweep');
    await sweeper.close();
    expect(sweeps.listenerCount('sweep')).toBe(0);
  });

  it('joins a sweep that is under way, and begins none once it is closed', async () => {
    addObject('a');
    time = hours(24);
    const sweeper = makeSweeper();
    const [first, second] = await Promise.all([sweeper.sweepOnce(), sweeper.sweepOnce()]);
    expect(first).toBe(second);
    await sweeper.close();
    addObject('b');
    time = hours(100);
    expect(await sweeper.sweepOnce()).toEqual({ removed: 0, aborted: 0 });
    expect(kept()).toEqual(['b']);
  });
});
