import { randomBytes } from 'node:crypto';
import { appendFile, truncate } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { createDigest, finishDigest } from '../../../../src/http/digest.ts';
import { until } from '../support-connector.ts';
import { problem } from '../support-router.ts';
import { Scene } from './support-scene.ts';

const MIB = 1024 * 1024;
/** More than goes in a single POST. */
const LARGE = randomBytes(64 * 1024 + 1);
const digestOf = (content: Buffer): string => finishDigest(createDigest().update(content));

describe('answering get_dataset_stream', () => {
  test.each([LARGE.length, 3 * MIB + 5])('sends %d bytes in one chunk, then complete', async (size) => {
    const content = randomBytes(size);
    await using scene = await Scene.open({ 'sub/ü.csv': content });
    const id = scene.command('get_dataset_stream', { dataset_name: 'sub/ü.csv', want_digest: true });
    const chunk = await scene.router.nextPost();
    expect(chunk.path).toBe('datasets/stream/chunk');
    expect(chunk.request.headers).toMatchObject({
      'relay-request-id': id,
      'relay-offset': '0',
      'relay-total-size': String(size),
      'relay-etag': expect.any(String),
      'content-type': 'text/csv',
      'content-length': String(size),
    });
    expect((await chunk.body()).equals(content)).toBe(true);
    chunk.reply(200, { request_id: id, next_offset: size });
    const complete = await scene.router.nextPost();
    expect(complete.path).toBe('datasets/stream/complete');
    expect(await complete.json()).toEqual({ request_id: id, total_size: size, digest: digestOf(content) });
    complete.reply(200, { request_id: id });
  });

  test.each([0, 1, 64 * 1024])('sends %d bytes in a single POST, which is all there is to it', async (size) => {
    const content = randomBytes(size);
    await using scene = await Scene.open({ 'a.csv': content });
    const id = scene.command('get_dataset_stream', { dataset_name: 'a.csv', want_digest: true });
    const post = await scene.router.nextPost();
    expect(post.path).toBe('datasets/result');
    expect(post.request.headers).toMatchObject({
      'relay-request-id': id,
      'relay-offset': '0',
      'relay-total-size': String(size),
      'relay-etag': expect.any(String),
      'repr-digest': digestOf(content),
      'content-type': 'text/csv',
      'content-length': String(size),
    });
    expect((await post.body()).equals(content)).toBe(true);
    post.reply(200, { request_id: id, next_offset: size });
    await until(() => scene.running.log.some(({ msg }) => msg === 'done'));
  });

  test('sends what is small in chunks where its single POST does not get through', async () => {
    await using scene = await Scene.open({ file: 'x' });
    const id = scene.command('get_dataset_stream');
    const post = await scene.router.nextPost();
    await post.body();
    post.reply(502, '<html>bad gateway');
    const chunk = await scene.router.nextPost();
    expect([chunk.path, (await chunk.body()).toString()]).toEqual(['datasets/stream/chunk', 'x']);
    chunk.reply(200, { request_id: id, next_offset: 1 });
    const complete = await scene.router.nextPost();
    expect(await complete.json()).toEqual({ request_id: id, total_size: 1 });
  });

  test('passes the trace of its command on with every POST, and only of its command', async () => {
    await using scene = await Scene.open({ file: LARGE });
    const traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';
    for (const expected of [traceparent, undefined]) {
      const id = scene.command('get_dataset_stream', { traceparent: expected });
      const chunk = await scene.router.nextPost();
      await chunk.body();
      chunk.reply(200, { request_id: id, next_offset: LARGE.length });
      const complete = await scene.router.nextPost();
      expect([chunk.header('traceparent'), complete.header('traceparent')]).toEqual([expected, expected]);
      complete.reply(200, { request_id: id });
    }
  });

  test('sends the part that was asked for, of the dataset that was asked for', async () => {
    await using scene = await Scene.open({ file: '0123456789' });
    scene.command('stat');
    const stat = await scene.router.nextPost();
    const { etag } = (await stat.json())['dataset'] as { etag: string };
    stat.reply(200);
    scene.command('get_dataset_stream', { offset: 3, length: 4, if_match: etag, want_digest: true });
    const chunk = await scene.router.nextPost();
    expect(chunk.header('Relay-Offset')).toBe('3');
    expect(chunk.header('Relay-Total-Size')).toBe('10');
    // A part never makes the node read the whole for its digest.
    expect(chunk.header('Repr-Digest')).toBeUndefined();
    expect((await chunk.body()).toString()).toBe('3456');
  });

  test.each<[object, string, object]>([
    [{ offset: 8, length: 100 }, '89', {}],
    [{ offset: 10 }, '', {}],
    [{ offset: 0, length: 0 }, '', {}],
  ])('%j of ten bytes is %j', async (selection, expected) => {
    await using scene = await Scene.open({ file: '0123456789' });
    scene.command('get_dataset_stream', selection);
    const chunk = await scene.router.nextPost();
    expect((await chunk.body()).toString()).toBe(expected);
  });

  test('refuses a part beyond the end, and another state of the file', async () => {
    await using scene = await Scene.open({ file: '0123456789' });
    scene.command('get_dataset_stream', { offset: 11 });
    const beyond = await scene.router.nextPost();
    expect((await beyond.json())['error']).toMatchObject({ code: 'range_not_satisfiable', size: 10 });
    beyond.reply(200);
    scene.command('get_dataset_stream', { if_match: '"other"' });
    const other = await scene.router.nextPost();
    expect((await other.json())['error']).toMatchObject({ code: 'precondition_failed' });
  });

  test('goes on from where the router is, and hashes each byte once', async () => {
    const content = randomBytes(2 * MIB);
    await using scene = await Scene.open({ file: content });
    const id = scene.command('get_dataset_stream', { want_digest: true });
    const first = await scene.router.nextPost();
    await first.body();
    first.reply(200, { request_id: id, next_offset: MIB + 7 });
    const second = await scene.router.nextPost();
    expect(second.header('Relay-Offset')).toBe(String(MIB + 7));
    expect((await second.body()).equals(content.subarray(MIB + 7))).toBe(true);
    second.reply(409, problem('offset_mismatch', { next_offset: 5 }));
    const third = await scene.router.nextPost();
    expect(third.header('Relay-Offset')).toBe('5');
    await third.body();
    third.reply(200, { request_id: id, next_offset: content.length });
    const complete = await scene.router.nextPost();
    expect(await complete.json()).toEqual({ request_id: id, total_size: content.length, digest: digestOf(content) });
  });

  test('does not turn in circles with a router that takes in nothing', async () => {
    await using scene = await Scene.open({ file: LARGE });
    const id = scene.command('get_dataset_stream');
    let post = await scene.router.nextPost();
    while (post.path === 'datasets/stream/chunk') {
      await post.body();
      post.reply(200, { request_id: id, next_offset: 0 });
      post = await scene.router.nextPost();
    }
    expect(await post.json()).toMatchObject({ request_id: id, error: { code: 'connector_failed' } });
  });

  test('reports a file that is cut short while its POST is open, instead of complete', async () => {
    await using scene = await Scene.open({ file: Buffer.alloc(32 * MIB) });
    const id = scene.command('get_dataset_stream');
    const chunk = await scene.router.nextPost();
    await truncate(path.join(scene.sandbox.data, 'file'), 1000);
    const cut = new Promise((resolve) => chunk.request.once('close', resolve));
    chunk.request.on('error', () => {}).resume();
    const failure = await scene.router.nextPost();
    expect(failure.path).toBe('datasets/result');
    expect(chunk.request.destroyed).toBe(false);
    expect(await failure.json()).toMatchObject({ request_id: id, error: { code: 'dataset_changed' } });
    failure.reply(200);
    await cut;
    expect(chunk.request.complete).toBe(false);
    expect(scene.router.waitingPosts).toBe(0);
  });

  test('reports a file that changes when its last byte is taken in, instead of complete', async () => {
    await using scene = await Scene.open({ file: LARGE });
    const id = scene.command('get_dataset_stream');
    const chunk = await scene.router.nextPost();
    expect(await chunk.body()).toHaveLength(LARGE.length);
    await appendFile(path.join(scene.sandbox.data, 'file'), '!');
    chunk.reply(200, { request_id: id, next_offset: LARGE.length });
    const failure = await scene.router.nextPost();
    expect(await failure.json()).toMatchObject({ request_id: id, error: { code: 'dataset_changed' } });
  });

  test('reads no further than the router takes in', async () => {
    await using scene = await Scene.open({ file: Buffer.alloc(64 * MIB) });
    const id = scene.command('get_dataset_stream');
    const chunk = await scene.router.nextPost();
    chunk.request.pause();
    // The file changes behind what was read; had all of it been read, nobody would notice.
    await new Promise((resolve) => setTimeout(resolve, 200));
    await truncate(path.join(scene.sandbox.data, 'file'), 48 * MIB);
    chunk.request.on('error', () => {}).resume();
    const failure = await scene.router.nextPost();
    expect(await failure.json()).toMatchObject({ request_id: id, error: { code: 'dataset_changed' } });
  });

  test('stops within a second of a cancel, cuts its POST and says nothing', async () => {
    await using scene = await Scene.open({ file: Buffer.alloc(64 * MIB) });
    const id = scene.command('get_dataset_stream');
    const chunk = await scene.router.nextPost();
    chunk.request.pause();
    const cut = new Promise((resolve) => chunk.request.once('close', resolve));
    chunk.request.on('error', () => {});
    const start = performance.now();
    scene.link.send({ command: 'cancel', request_id: id });
    await until(() => scene.running.log.some(({ msg, request_id: logged }) => msg === 'cancelled' && logged === id));
    expect(performance.now() - start).toBeLessThan(1000);
    chunk.request.resume();
    await cut;
    expect(chunk.request.complete).toBe(false);
    expect(scene.router.waitingPosts).toBe(0);
  });

  test('sends complete again where a proxy fails, and takes the answer of the second', async () => {
    await using scene = await Scene.open({ file: LARGE });
    const id = scene.command('get_dataset_stream');
    const chunk = await scene.router.nextPost();
    await chunk.body();
    chunk.reply(200, { request_id: id, next_offset: LARGE.length });
    const first = await scene.router.nextPost();
    await first.body();
    first.reply(502, '<html>bad gateway');
    const second = await scene.router.nextPost();
    await second.body();
    second.request.socket.destroy();
    const third = await scene.router.nextPost();
    expect(await third.json()).toEqual({ request_id: id, total_size: LARGE.length });
    third.reply(200, { request_id: id });
    await until(() => scene.running.log.some(({ msg }) => msg === 'done'));
  });
});
