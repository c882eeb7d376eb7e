import { randomBytes } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import { createDigest, finishDigest } from '../../../../src/http/digest.ts';
import { until } from '../support-connector.ts';
import { Scene } from './support-scene.ts';

const KIB = 1024;
const digestOf = (content: Buffer): string => finishDigest(createDigest().update(content));

/** The message that a scene's link gets next. */
async function nextMessage({ link }: Scene): Promise<{ head: Record<string, unknown>; bytes: Buffer }> {
  await until(() => link.messages.length > 0);
  const [line = '', ...rest] = (link.messages.shift() as string).split('\n');
  return { head: JSON.parse(line) as Record<string, unknown>, bytes: Buffer.from(rest.join('\n'), 'latin1') };
}

describe('a small answer', () => {
  test.each([
    ['get_dataset', 0],
    ['get_dataset', 20 * KIB],
    ['get_dataset_stream', 0],
    ['get_dataset_stream', 20 * KIB],
  ])('to %s of %d bytes goes over the link', async (command, size) => {
    const content = randomBytes(size);
    await using scene = await Scene.open({ 'a.csv': content });
    const id = scene.command(command, { dataset_name: 'a.csv', want_digest: true, inline_max: 64 * KIB });
    const { head, bytes } = await nextMessage(scene);
    expect(head).toEqual({
      request_id: id,
      offset: 0,
      total_size: size,
      etag: expect.any(String),
      content_type: 'text/csv',
      last_modified: expect.stringMatching(/^20.*Z$/),
      digest: digestOf(content),
    });
    expect(bytes.equals(content)).toBe(true);
    await until(() => scene.running.log.some(({ msg }) => msg === 'done'));
  });

  test('with a part of a dataset says where it begins', async () => {
    await using scene = await Scene.open({ file: '0123456789' });
    scene.command('get_dataset_stream', { offset: 3, length: 4, inline_max: 64 * KIB });
    const { head, bytes } = await nextMessage(scene);
    expect(head).toMatchObject({ offset: 3, total_size: 10 });
    expect(bytes.toString()).toBe('3456');
  });

  test('in JSON goes over the link as text', async () => {
    await using scene = await Scene.open({ file: 'x' });
    const id = scene.command('stat', { inline_max: 64 * KIB });
    const { head } = await nextMessage(scene);
    expect(head).toMatchObject({ result: { request_id: id, dataset: { name: 'file', size: 1 } } });
    scene.command('list', { limit: 10, inline_max: 64 * KIB });
    expect((await nextMessage(scene)).head).toMatchObject({ result: { datasets: [{ name: 'file' }] } });
  });

  test.each([
    ['the command says nothing of it', 1, {}, {}],
    ['its message would be longer than the router takes', 200, { inline_max: 250 }, {}],
    ['a POST tells how fast the line is', 32 * KIB, { inline_max: 64 * KIB }, {}],
    ['the link is no WebSocket', 1, { inline_max: 64 * KIB }, { transport: 'sse' as const }],
  ])('goes by a POST where %s', async (_, size, fields, options) => {
    const content = randomBytes(size);
    await using scene = await Scene.open({ file: content }, options);
    for (const command of ['get_dataset', 'get_dataset_stream']) {
      const id = scene.command(command, fields);
      const post = await scene.router.nextPost();
      expect(post.path).toBe('datasets/result');
      expect((await post.body()).equals(content)).toBe(true);
      post.reply(200, { request_id: id, next_offset: size });
    }
    expect(scene.link.messages).toEqual([]);
  });

  test('in JSON goes by a POST where it is longer than the router takes', async () => {
    await using scene = await Scene.open({ file: 'x' });
    const id = scene.command('stat', { inline_max: 50 });
    const post = await scene.router.nextPost();
    expect(await post.json()).toMatchObject({ request_id: id, dataset: { size: 1 } });
    post.reply(200, { request_id: id });
  });

  test('is given again where its command comes again, since the first may have been lost with its link', async () => {
    await using scene = await Scene.open({ file: 'x' });
    const command = { command: 'get_dataset_stream', request_id: 'r', dataset_name: 'file', inline_max: 64 * KIB };
    for (let times = 1; times <= 2; times++) {
      scene.link.send(command);
      expect((await nextMessage(scene)).bytes.toString()).toBe('x');
      await until(() => scene.running.log.filter(({ msg }) => msg === 'done').length === times);
    }
  });

  test('keeps to --max-rate', async () => {
    const content = randomBytes(20 * KIB);
    await using scene = await Scene.open({ file: content }, { maxBytesPerSecond: 40 * KIB });
    const before = performance.now();
    for (let n = 0; n < 3; n++) scene.command('get_dataset', { inline_max: 64 * KIB });
    for (let n = 0; n < 3; n++) await nextMessage(scene);
    // The last waits for the two before it.
    expect(performance.now() - before).toBeGreaterThan(700);
  });
});
