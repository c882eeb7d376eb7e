import { rename } from 'node:fs/promises';
import { describe, expect, test } from '@jest/globals';
import { result } from '../../../../src/protocol/answers.ts';
import { decodeValue, unwrap } from '../../../../src/protocol/codec.ts';
import { until } from '../support-connector.ts';
import { problem } from '../support-router.ts';
import { Scene } from './support-scene.ts';

describe('the catalog', () => {
  test('answers stat with all that is known', async () => {
    await using scene = await Scene.open({ 'a.parquet': '12345' });
    const id = scene.command('stat', { dataset_name: 'a.parquet' });
    const post = await scene.router.nextPost();
    const answer = unwrap(decodeValue(result, await post.json()));
    expect(answer).toMatchObject({
      request_id: id,
      dataset: {
        name: 'a.parquet',
        size: 5,
        etag: expect.any(String),
        mtime: expect.stringMatching(/Z$/),
        content_type: 'application/vnd.apache.parquet',
      },
    });
  });

  test('lists page by page', async () => {
    await using scene = await Scene.open({ a: '', 'b/c': '', 'b/d': '', e: '' });
    const pages: unknown[] = [];
    let cursor: string | undefined;
    do {
      scene.command('list', { limit: 3, cursor });
      const post = await scene.router.nextPost();
      const answer = unwrap(decodeValue(result, await post.json()));
      post.reply(200);
      pages.push(answer.datasets?.map(({ name }) => name));
      cursor = answer.next;
    } while (cursor !== undefined);
    expect(pages).toEqual([['a', 'b/c', 'b/d'], ['e']]);
  });

  test('lists what is wanted, and rolls the rest up, by pages that count both', async () => {
    await using scene = await Scene.open({
      'a/1.csv': '',
      'a/b/1.csv': '',
      'a/b/2.csv': '',
      'a/c/1.txt': '',
      'a/d.csv': '',
    });
    const pages: unknown[] = [];
    let cursor: string | undefined;
    do {
      scene.command('list', { limit: 2, cursor, prefix: 'a/', glob: '**/*.csv', delimiter: '/' });
      const post = await scene.router.nextPost();
      const answer = unwrap(decodeValue(result, await post.json()));
      post.reply(200);
      pages.push([answer.datasets?.map(({ name }) => name), answer.prefixes, answer.next]);
      cursor = answer.next;
    } while (cursor !== undefined);
    expect(pages).toEqual([
      [['a/1.csv'], ['a/b/'], 'a/b/'],
      [['a/d.csv'], [], undefined],
    ]);
  });

  test('tells at once that it reads for a digest, then gives that of the whole', async () => {
    await using scene = await Scene.open({ file: 'abc' });
    const id = scene.command('digest');
    const progress = await scene.router.nextPost();
    expect(progress.path).toBe('datasets/offload/progress');
    expect(await progress.json()).toEqual({ request_id: id, bytes_done: 0, total_size: 3 });
    progress.reply(200);
    expect(await (await scene.router.nextPost()).json()).toEqual({
      request_id: id,
      digest: 'sha-256=:ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=:',
      size: 3,
      etag: expect.any(String),
    });
  });

  test('is not stopped by a report of progress that comes after its result', async () => {
    await using scene = await Scene.open({ file: 'abc' });
    const id = scene.command('digest');
    const [progress, answer] = [await scene.router.nextPost(), await scene.router.nextPost()];
    expect([progress.path, answer.path]).toEqual(['datasets/offload/progress', 'datasets/result']);
    progress.reply(410, problem('request_gone'));
    // The answer to it has been read once the connection carries another request.
    scene.command('stat');
    const stat = await scene.router.nextPost();
    stat.reply(200);
    answer.reply(200, { request_id: id });
    await until(() => scene.running.log.filter(({ msg }) => msg === 'done').length === 2);
    expect(scene.running.log.some(({ msg }) => /nobody waits/.test(msg))).toBe(false);
  });

  test('tells a directory that is gone from a dataset that is', async () => {
    await using scene = await Scene.open({ file: 'abc' });
    await rename(scene.sandbox.data, `${scene.sandbox.data}-away`);
    for (const [command, fields] of [['stat'], ['digest'], ['list', { limit: 10 }], ['get_dataset']] as const) {
      const id = scene.command(command, fields);
      const post = await scene.router.nextPost();
      expect(await post.json()).toMatchObject({ request_id: id, error: { code: 'data_dir_unavailable' } });
      post.reply(200);
    }
  });
});
