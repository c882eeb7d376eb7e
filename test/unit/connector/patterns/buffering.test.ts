import { randomBytes } from 'node:crypto';
import { appendFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { createDigest, finishDigest } from '../../../../src/http/digest.ts';
import { problem } from '../support-router.ts';
import { until } from '../support-connector.ts';
import { Scene } from './support-scene.ts';

describe('answering get_dataset', () => {
  test.each([0, 1, 1_000_003])('sends %d bytes in one binary result', async (size) => {
    const content = randomBytes(size);
    await using scene = await Scene.open({ file: content });
    const id = scene.command('get_dataset', { max_size: 64 * 1024 * 1024 });
    const post = await scene.router.nextPost();
    expect(post.path).toBe('datasets/result');
    expect(post.request.headers).toMatchObject({
      'relay-request-id': id,
      'content-length': String(size),
      'content-type': 'application/octet-stream',
      'relay-total-size': String(size),
      'relay-etag': expect.stringMatching(/^"[\w-]+"$/),
      'last-modified': expect.stringMatching(/GMT$/),
    });
    expect(post.header('Repr-Digest')).toBeUndefined();
    expect((await post.body()).equals(content)).toBe(true);
    post.reply(200, { request_id: id });
    await until(() => scene.running.log.some(({ msg, request_id: logged }) => msg === 'done' && logged === id));
  });

  test('says beforehand that it is too large, with its size', async () => {
    await using scene = await Scene.open({ file: '12345' });
    const id = scene.command('get_dataset', { max_size: 4 });
    const post = await scene.router.nextPost();
    expect(await post.json()).toMatchObject({ request_id: id, error: { code: 'dataset_too_large', size: 5 } });
  });

  test('gives the digest before the body where it is wanted', async () => {
    await using scene = await Scene.open({ file: 'content' });
    scene.command('get_dataset', { want_digest: true });
    const post = await scene.router.nextPost();
    expect(post.header('Repr-Digest')).toBe(finishDigest(createDigest().update('content')));
  });

  test.each([
    ['missing', 'dataset_not_found'],
    ['../file', 'invalid_request'],
    ['.hidden', 'dataset_not_found'],
  ])('answers %j with %s', async (name, code) => {
    await using scene = await Scene.open({ '.hidden': 'h' });
    const id = scene.command('get_dataset', { dataset_name: name });
    const post = await scene.router.nextPost();
    expect(await post.json()).toMatchObject({ request_id: id, error: { code } });
  });

  test('reports a file that changes before it cuts the result', async () => {
    const size = 32 * 1024 * 1024;
    await using scene = await Scene.open({ file: Buffer.alloc(size) });
    const id = scene.command('get_dataset');
    const post = await scene.router.nextPost();
    await appendFile(path.join(scene.sandbox.data, 'file'), '!');
    let received = 0;
    const cut = new Promise((resolve) => post.request.once('close', resolve));
    post.request.on('error', () => {});
    post.request.on('data', (piece: Buffer) => {
      received += piece.length;
    });
    const failure = await scene.router.nextPost();
    expect(post.request.destroyed).toBe(false);
    expect(await failure.json()).toMatchObject({ request_id: id, error: { code: 'dataset_changed' } });
    failure.reply(200, { request_id: id });
    await cut;
    expect(received).toBeLessThan(size);
  });

  test('reports a file that changes when the last of its chunks is taken in, instead of complete', async () => {
    const content = randomBytes(2 * 1024 * 1024);
    await using scene = await Scene.open({ file: content });
    const id = scene.command('get_dataset');
    (await scene.router.nextPost()).request.socket.destroy();
    (await scene.router.nextPost()).reply(200, { request_id: id, next_offset: 0 });
    const chunk = await scene.router.nextPost();
    expect(await chunk.body()).toHaveLength(content.length);
    await appendFile(path.join(scene.sandbox.data, 'file'), '!');
    chunk.reply(200, { request_id: id, next_offset: content.length });
    const failure = await scene.router.nextPost();
    expect(await failure.json()).toMatchObject({ request_id: id, error: { code: 'dataset_changed' } });
  });

  test('stops without a word when nobody waits any more', async () => {
    await using scene = await Scene.open({ file: Buffer.alloc(32 * 1024 * 1024) });
    const id = scene.command('get_dataset');
    const post = await scene.router.nextPost();
    post.reply(410, problem('request_gone'));
    await until(() =>
      scene.running.log.some(({ msg, request_id: logged }) => /nobody waits/.test(msg) && logged === id),
    );
    expect(scene.router.waitingPosts).toBe(0);
  });

  test('takes a refusal of the router itself for what it is', async () => {
    await using scene = await Scene.open({ file: Buffer.alloc(2 * 1024 * 1024) });
    const id = scene.command('get_dataset');
    const post = await scene.router.nextPost();
    post.reply(413, problem('dataset_too_large'));
    const failure = await scene.router.nextPost();
    expect(await failure.json()).toMatchObject({ request_id: id, error: { code: 'dataset_too_large' } });
  });

  test('goes on in chunks from where the router is when its connection breaks', async () => {
    const content = randomBytes(32 * 1024 * 1024);
    await using scene = await Scene.open({ file: content });
    const id = scene.command('get_dataset');
    (await scene.router.nextPost()).request.socket.destroy();
    const question = await scene.router.nextPost();
    expect([question.path, question.header('Relay-Offset')]).toEqual(['datasets/stream/chunk', '0']);
    expect(await question.body()).toHaveLength(0);
    question.reply(200, { request_id: id, next_offset: 1000 });
    const rest = await scene.router.nextPost();
    expect(rest.header('Relay-Offset')).toBe('1000');
    expect((await rest.body()).equals(content.subarray(1000))).toBe(true);
    rest.reply(200, { request_id: id, next_offset: content.length });
    const complete = await scene.router.nextPost();
    expect(complete.path).toBe('datasets/stream/complete');
    expect(await complete.json()).toMatchObject({ request_id: id, total_size: content.length });
  });
});
