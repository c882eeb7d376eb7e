import { randomBytes } from 'node:crypto';
import { appendFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { createDigest, finishDigest } from '../../../../src/http/digest.ts';
import { until } from '../support-connector.ts';
import { type FakePost, problem } from '../support-router.ts';
import { Scene } from './support-scene.ts';

const MIB = 1024 * 1024;
const PART_SIZE = 5 * MIB;
const digestOf = (content: Buffer): string => finishDigest(createDigest().update(content));

/** The store and the router's side of an offload: plays them until the result comes. */
class OffloadScene {
  readonly scene: Scene;
  /** What was stored last under each path. */
  readonly stored = new Map<string, Buffer>();
  readonly progress: { bytes_done: number; total_size: number }[] = [];
  /** How often each path was PUT. */
  readonly puts = new Map<string, number>();
  readonly partRequests: number[][] = [];
  /** How many PUTs were under way at the same time at most. */
  mostAtOnce = 0;
  #atOnce = 0;
  /** Takes a PUT in place of the store; true when it did. */
  intercept: (post: FakePost, attempt: number) => Promise<boolean> | boolean = () => false;
  progressStatus = 200;
  /** What the store has already; asked for with `want_done`. */
  done: { part_number: number; etag: string; size: number }[] = [];
  readonly wantedDone: unknown[] = [];

  constructor(scene: Scene) {
    this.scene = scene;
  }

  start(fields: object = {}): string {
    return this.scene.command('get_dataset_offload', {
      upload: { ...this.sign('store/whole'), download_url: this.url('store/name'), expires_at: '2100-01-01T00:00:00Z' },
      ...fields,
    });
  }

  url(key: string): string {
    return new URL(key, this.scene.router.url).href;
  }

  sign(key: string): object {
    return { method: 'PUT', url: this.url(key), headers: { 'X-Signed': 'yes' } };
  }

  /** Answers everything until a result is there. */
  async play(): Promise<Record<string, unknown>> {
    for (;;) {
      const post = await this.scene.router.nextPost();
      if (post.path === 'datasets/result') {
        const result = await post.json();
        post.reply(200, { request_id: result['request_id'] });
        return result;
      }
      if (post.path === 'datasets/offload/progress') {
        this.progress.push((await post.json()) as never);
        post.reply(this.progressStatus, this.progressStatus === 200 ? {} : problem('request_gone'));
      } else if (post.path === 'datasets/offload/parts') await this.#grant(post);
      else void this.#store(post);
    }
  }

  async #grant(post: FakePost): Promise<void> {
    const body = await post.json();
    const numbers = body['part_numbers'] as number[];
    this.partRequests.push(numbers);
    const generation = this.partRequests.length;
    this.wantedDone.push(body['want_done']);
    post.reply(200, {
      part_size: PART_SIZE,
      ...(body['want_done'] === true && { done: this.done }),
      expires_at: '2100-01-01T00:00:00Z',
      parts: numbers.map((number) => ({ part_number: number, ...this.sign(`store/part/${number}/${generation}`) })),
    });
  }

  async #store(post: FakePost): Promise<void> {
    const attempt = (this.puts.get(post.path) ?? 0) + 1;
    this.puts.set(post.path, attempt);
    this.mostAtOnce = Math.max(this.mostAtOnce, ++this.#atOnce);
    post.request.on('error', () => {});
    post.request.once('close', () => this.#atOnce--);
    if (await this.intercept(post, attempt)) return;
    const body = await post.body().catch(() => undefined);
    if (body === undefined) return;
    this.stored.set(post.path, body);
    post.reply(200, {}, { ETag: `"etag-of-${post.path.split('/').at(2) ?? 'whole'}"` });
  }
}

async function open(content: Buffer): Promise<AsyncDisposable & { offload: OffloadScene; scene: Scene }> {
  const scene = await Scene.open({ file: content });
  return { scene, offload: new OffloadScene(scene), [Symbol.asyncDispose]: () => scene[Symbol.asyncDispose]() };
}

describe('answering get_dataset_offload', () => {
  test.each([0, 1, 5 * MIB])('puts %d bytes into the store in one piece', async (size) => {
    const content = randomBytes(size);
    await using context = await open(content);
    const { offload } = context;
    const id = offload.start();
    const result = await offload.play();
    expect(result).toEqual({
      request_id: id,
      download_url: offload.url('store/name'),
      size,
      etag: expect.any(String),
      digest: digestOf(content),
      last_modified: expect.any(String),
    });
    expect(offload.stored.get('store/whole')?.equals(content)).toBe(true);
    expect(offload.partRequests).toEqual([]);
  });

  test('hashes nothing for who wants no digest, but tells one that it has', async () => {
    await using context = await open(randomBytes(1000));
    const { offload } = context;
    offload.start({ want_digest: false });
    expect(await offload.play()).not.toHaveProperty('digest');
    offload.start({ want_digest: true });
    const { digest } = await offload.play();
    offload.start({ want_digest: false });
    expect(await offload.play()).toHaveProperty('digest', digest);
  });

  test('sends only the parts that are missing, and tells the digest and the progress of all', async () => {
    const content = randomBytes(20 * MIB + 3);
    await using context = await open(content);
    const { offload, scene } = context;
    const id = scene.command('stat');
    const stat = await scene.nextAnswer();
    const { dataset } = await stat.json();
    stat.reply(200, { request_id: id });
    offload.done = [
      { part_number: 1, etag: '"kept-1"', size: 5 * MIB },
      { part_number: 3, etag: '"too-short"', size: 5 * MIB - 1 },
      { part_number: 5, etag: '"kept-5"', size: 3 },
      { part_number: 6, etag: '"none"', size: 5 * MIB },
    ];
    offload.start({ if_match: (dataset as { etag: string }).etag });
    const result = await offload.play();
    expect(result['parts']).toEqual([
      { part_number: 1, etag: '"kept-1"' },
      { part_number: 2, etag: '"etag-of-2"' },
      { part_number: 3, etag: '"etag-of-3"' },
      { part_number: 4, etag: '"etag-of-4"' },
      { part_number: 5, etag: '"kept-5"' },
    ]);
    expect(result['digest']).toBe(digestOf(content));
    const sent = [...offload.puts.keys()].map((name) => Number(name.split('/').at(2)));
    expect(sent.toSorted((a, b) => a - b)).toEqual([2, 3, 4]);
    expect(offload.wantedDone).toEqual([true, undefined]);
  });

  test('does not ask what is there without knowing of which version', async () => {
    await using context = await open(randomBytes(16 * MIB + 3));
    const { offload } = context;
    offload.done = [{ part_number: 1, etag: '"foreign"', size: 5 * MIB }];
    offload.start();
    await offload.play();
    expect(offload.wantedDone[0]).toBeUndefined();
    expect(offload.puts.size).toBe(4);
  });

  test('stops an upload that is asked for again under another id, and begins when it has ended', async () => {
    await using context = await open(randomBytes(16 * MIB + 3));
    const { offload } = context;
    const cut = Promise.withResolvers<void>();
    offload.start();
    let again: string | undefined;
    offload.intercept = (post) => {
      if (again !== undefined) return false;
      again = offload.start();
      post.body().catch(() => cut.resolve());
      return true;
    };
    const result = await offload.play();
    await cut.promise;
    expect(result).toMatchObject({ request_id: again, parts: { length: 4 } });
  });

  test('puts a larger one in parts, several at a time, and names them in order', async () => {
    const content = randomBytes(16 * MIB + 3);
    await using context = await open(content);
    const { offload } = context;
    const id = offload.start();
    const result = await offload.play();
    expect(result).toMatchObject({
      request_id: id,
      size: content.length,
      digest: digestOf(content),
      parts: [1, 2, 3, 4].map((number) => ({ part_number: number, etag: `"etag-of-${number}"` })),
    });
    const whole = Buffer.concat(
      [1, 2, 3, 4].map((number) => offload.stored.get(`store/part/${number}/${number === 1 ? 1 : 2}`) as Buffer),
    );
    expect(whole.equals(content)).toBe(true);
    expect(offload.partRequests).toEqual([[1], [2, 3, 4]]);
    expect(offload.mostAtOnce).toBeGreaterThan(1);
    expect(offload.mostAtOnce).toBeLessThanOrEqual(4);
  });

  test('tells at once that it has begun, and how large the file is', async () => {
    await using context = await open(randomBytes(MIB));
    context.offload.start();
    await context.offload.play();
    expect(context.offload.progress[0]).toMatchObject({ bytes_done: 0, total_size: MIB });
  });

  test('tries a part again that the store could not take, alone', async () => {
    const content = randomBytes(16 * MIB + 3);
    await using context = await open(content);
    const { offload } = context;
    offload.intercept = (post, attempt) => {
      if (!post.path.startsWith('store/part/2/') || attempt > 2) return false;
      if (attempt === 1) post.reply(503, '<Error><Code>SlowDown</Code></Error>');
      else post.request.socket.destroy();
      return true;
    };
    offload.start();
    const result = await offload.play();
    expect(result['error']).toBeUndefined();
    expect([...offload.puts.values()].toSorted((a, b) => a - b)).toEqual([1, 1, 1, 3]);
  });

  test('gets a new URL for a part whose URL has expired', async () => {
    await using context = await open(randomBytes(16 * MIB + 3));
    const { offload } = context;
    offload.intercept = (post) => {
      if (post.path !== 'store/part/3/2') return false;
      post.reply(403, problem('url_expired'));
      return true;
    };
    offload.start();
    const result = await offload.play();
    expect(result['error']).toBeUndefined();
    expect(offload.partRequests.at(-1)).toEqual([3]);
    expect(offload.stored.has('store/part/3/3')).toBe(true);
  });

  test('goes on in parts where the one URL has expired', async () => {
    const content = randomBytes(6 * MIB);
    await using context = await open(content);
    const { offload } = context;
    offload.intercept = (post) => {
      if (post.path !== 'store/whole') return false;
      post.reply(403, problem('url_expired'));
      return true;
    };
    offload.start();
    const result = await offload.play();
    expect(result).toMatchObject({ digest: digestOf(content), parts: [{ part_number: 1 }, { part_number: 2 }] });
  });

  test('puts no piece into a store that would take it for the part, and says what is in the way', async () => {
    await using context = await open(randomBytes(16 * MIB + 3));
    const { offload } = context;
    offload.intercept = (post) => {
      expect(post.header('Content-Range')).toBeUndefined();
      post.reply(413, '<html><h1>413 Request Entity Too Large</h1>', { 'Content-Type': 'text/html' });
      return true;
    };
    offload.start();
    expect(await offload.play()).toMatchObject({
      error: { code: 'store_unavailable', message: expect.stringMatching(/413.*client_max_body_size/) },
    });
  });

  test.each<[number, string, string]>([
    [507, 'store_full', 'the store answered HTTP 507'],
    [400, 'store_unavailable', 'the store answered HTTP 400 (InvalidPart)'],
  ])('gives up at HTTP %d with %s', async (status, code, message) => {
    await using context = await open(randomBytes(1000));
    const { offload } = context;
    offload.intercept = (post) => {
      post.reply(status, '<Error><Code>InvalidPart</Code></Error>');
      return true;
    };
    const id = offload.start();
    const result = await offload.play();
    expect(result).toMatchObject({ request_id: id, error: { code, message: expect.stringContaining(message) } });
    expect(offload.puts.get('store/whole')).toBe(1);
  });

  test('stops the other parts when one is refused', async () => {
    await using context = await open(randomBytes(40 * MIB));
    const { offload } = context;
    offload.intercept = (post) => {
      if (!post.path.startsWith('store/part/2/')) return false;
      post.reply(507);
      return true;
    };
    offload.start();
    expect(await offload.play()).toMatchObject({ error: { code: 'store_full' } });
    expect(offload.puts.size).toBeLessThan(8);
  });

  test('reports a file that changes meanwhile', async () => {
    await using context = await open(randomBytes(4 * MIB));
    const { offload, scene } = context;
    offload.intercept = async () => {
      await appendFile(path.join(scene.sandbox.data, 'file'), '!');
      return false;
    };
    offload.start();
    expect(await offload.play()).toMatchObject({ error: { code: 'dataset_changed' } });
  });

  test.each(['cancel', 'progress'] as const)('stops within a second when nobody waits, told by %s', async (way) => {
    await using context = await open(randomBytes(40 * MIB));
    const { offload, scene } = context;
    let held: (post: FakePost) => void;
    const holding = new Promise<FakePost>((resolve) => {
      held = resolve;
    });
    offload.intercept = (post) => {
      post.request.resume();
      held(post);
      return true;
    };
    const id = offload.start();
    if (way === 'progress') offload.progressStatus = 410;
    void offload.play();
    const post = way === 'cancel' ? await holding : undefined;
    const start = performance.now();
    if (way === 'cancel') scene.link.send({ command: 'cancel', request_id: id });
    await until(() => scene.running.log.some(({ msg }) => /cancelled|nobody waits/.test(msg)), 2000);
    expect(performance.now() - start).toBeLessThan(1000);
    if (post !== undefined) await until(() => post.request.destroyed);
  });
});
