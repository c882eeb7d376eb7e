import { once } from 'node:events';
import path from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { checkDataDir, Connector } from '../../../src/connector/connector.ts';
import { silentLogger } from '../../../src/observability/logger.ts';
import type { Mac } from '../../../src/protocol/mac.ts';
import { Scene } from './patterns/support-scene.ts';
import { RunningConnector, until } from './support-connector.ts';
import { countDescriptors, Sandbox } from './support-dir.ts';
import { FakeRouter } from './support-router.ts';

const MIB = 1024 * 1024;
const mac = 'cc-28-aa-01-02-03' as Mac;

describe('a connector', () => {
  test('does not start without its data directory', async () => {
    await using sandbox = await Sandbox.create();
    const dataDir = path.join(sandbox.top, 'missing');
    const connector = new Connector({
      mac,
      dataDir,
      routerUrl: new URL('http://127.0.0.1:9'),
      version: '0',
      logger: silentLogger(),
    });
    const usage = { code: 'usage', message: `the data directory ${dataDir} does not exist` };
    await expect(checkDataDir(dataDir)).rejects.toMatchObject(usage);
    await expect(connector.run()).rejects.toMatchObject(usage);
    await expect(checkDataDir(sandbox.data)).resolves.toBeUndefined();
  });

  test('gives up after the time that it was given', async () => {
    await using sandbox = await Sandbox.create();
    await using running = RunningConnector.start({
      dataDir: sandbox.data,
      routerUrl: new URL('http://127.0.0.1:9'),
      giveUpAfterMs: 200,
    });
    await expect(running.done).rejects.toMatchObject({
      code: 'router_unreachable',
      message: 'cannot reach the router at 127.0.0.1:9: nothing listens there',
    });
  });

  test('ends with its signal', async () => {
    await using router = await FakeRouter.start();
    await using sandbox = await Sandbox.create();
    const connector = new Connector({
      mac,
      dataDir: sandbox.data,
      routerUrl: router.url,
      version: '0',
      logger: silentLogger(),
    });
    const abort = new AbortController();
    const done = connector.run(abort.signal);
    await once(connector, 'online');
    abort.abort();
    await done;
    await until(() => router.openSockets === 0);
    expect(() => connector.run()).toThrow('only once');
  });

  test('writes the request_id into every line of a request', async () => {
    await using scene = await Scene.open({ file: 'x' });
    const id = scene.command('get_dataset');
    const post = await scene.router.nextPost();
    await post.body();
    post.reply(200);
    await until(() => scene.running.log.some(({ msg }) => msg === 'done'));
    const lines = scene.running.log.filter(({ request_id: logged }) => logged === id);
    expect(lines.map(({ msg }) => msg)).toEqual(['command received', 'done']);
    expect(lines[0]).toMatchObject({ command: 'get_dataset', dataset: 'file' });
    expect(lines[1]).toMatchObject({ bytes: 1, ms: expect.any(Number) });
  });

  test('answers so many at once, the next in order, and refuses what is beyond its queue', async () => {
    await using scene = await Scene.open({ file: 'x' }, { maxConcurrentRequests: 2, maxQueuedRequests: 2 });
    const ids = Array.from({ length: 5 }, () => scene.command('get_dataset'));
    const posts = [await scene.router.nextPost(), await scene.router.nextPost(), await scene.router.nextPost()];
    const bodies = posts.map((post) => post.header('Relay-Request-Id'));
    expect(bodies.filter((id) => id !== undefined).toSorted()).toEqual(ids.slice(0, 2));
    const refusal = posts[bodies.indexOf(undefined)];
    expect(await refusal?.json()).toMatchObject({ request_id: ids[4], error: { code: 'overloaded' } });
    for (const post of posts) post.reply(200);
    for (const id of ids.slice(2, 4)) {
      const post = await scene.router.nextPost();
      expect([ids[2], ids[3]]).toContain(post.header('Relay-Request-Id') ?? id);
      await post.body();
      post.reply(200);
    }
    expect(scene.router.waitingPosts).toBe(0);
  });

  test('looks into its catalog also while all its transfers are held up', async () => {
    await using scene = await Scene.open({ file: 'x' }, { maxConcurrentRequests: 1 });
    scene.command('get_dataset');
    await scene.router.nextPost();
    scene.command('get_dataset');
    const id = scene.command('stat');
    expect(await (await scene.router.nextPost()).json()).toMatchObject({ request_id: id, dataset: { name: 'file' } });
  });

  test('cancels what has not begun without a word', async () => {
    await using scene = await Scene.open({ file: 'x' }, { maxConcurrentRequests: 1 });
    scene.command('get_dataset');
    const queued = scene.command('get_dataset');
    const last = scene.command('get_dataset');
    const first = await scene.router.nextPost();
    scene.link.send({ command: 'cancel', request_id: queued });
    scene.link.send({ command: 'cancel', request_id: 'unknown' });
    await until(() => scene.running.log.some(({ msg }) => msg === 'cancelled before it began'));
    await first.body();
    first.reply(200);
    expect((await scene.router.nextPost()).header('Relay-Request-Id')).toBe(last);
  });

  test('answers a command once that comes twice, and anew when another part is asked for', async () => {
    await using scene = await Scene.open({ file: Buffer.alloc(32 * MIB) });
    const id = scene.command('get_dataset_stream');
    const post = await scene.router.nextPost();
    scene.link.send({ command: 'get_dataset_stream', request_id: id, dataset_name: 'file' });
    await until(() => scene.running.log.some(({ msg }) => msg.includes('came again')));
    expect(scene.router.waitingPosts).toBe(0);
    post.request.on('error', () => {}).resume();
    const cut = new Promise((resolve) => post.request.once('close', resolve));
    scene.link.send({ command: 'get_dataset_stream', request_id: id, dataset_name: 'file', offset: 32 * MIB - 5 });
    const rest = await scene.router.nextPost();
    expect(rest.header('Relay-Offset')).toBe(String(32 * MIB - 5));
    await cut;
  });

  test('goes on sending when its link is lost', async () => {
    const content = Buffer.alloc(8 * MIB, 7);
    await using scene = await Scene.open({ file: content });
    const id = scene.command('get_dataset_stream');
    const post = await scene.router.nextPost();
    scene.link.cut();
    await once(scene.running.connector, 'offline');
    await scene.router.nextLink();
    expect((await post.body()).equals(content)).toBe(true);
    post.reply(200, { request_id: id, next_offset: content.length });
    expect((await scene.router.nextPost()).path).toBe('datasets/stream/complete');
  });
});

describe.each(['websocket', 'sse'] as const)('draining over %s', (transport) => {
  test('tells the router, refuses new commands and finishes what runs', async () => {
    await using scene = await Scene.open({ file: Buffer.alloc(8 * MIB) }, { transport });
    const id = scene.command('get_dataset');
    const running = await scene.router.nextPost();
    const draining = scene.running.connector.drain();
    await until(() =>
      transport === 'sse'
        ? scene.router.heartbeats.some(({ body }) => body === '{"event":"draining"}')
        : scene.link.messages.includes('{"event":"draining"}'),
    );
    const late = scene.command('get_dataset');
    const refusal = await scene.router.nextPost();
    expect(await refusal.json()).toMatchObject({ request_id: late, error: { code: 'draining' } });
    refusal.reply(200);
    expect((await running.body()).length).toBe(8 * MIB);
    running.reply(200, { request_id: id });
    await draining;
    await scene.running.done;
    await until(() => scene.router.openSockets === 0);
    expect(scene.running.log.some(({ msg, request_id: logged }) => msg === 'done' && logged === id)).toBe(true);
  });

  test('gives up what does not finish in time, and says so', async () => {
    await using scene = await Scene.open({ file: Buffer.alloc(32 * MIB) }, { transport, graceMs: 100 });
    const id = scene.command('get_dataset');
    const running = await scene.router.nextPost();
    running.request.on('error', () => {}).pause();
    const start = performance.now();
    const draining = scene.running.connector.drain();
    const failure = await scene.router.nextPost();
    expect(await failure.json()).toMatchObject({ request_id: id, error: { code: 'draining' } });
    failure.reply(200);
    await draining;
    expect(performance.now() - start).toBeLessThan(2000);
  });

  test('is cut short by close', async () => {
    await using scene = await Scene.open({ file: Buffer.alloc(32 * MIB) }, { transport });
    scene.command('get_dataset');
    (await scene.router.nextPost()).request.on('error', () => {}).pause();
    const draining = scene.running.connector.drain();
    const start = performance.now();
    await scene.running.connector.close();
    await draining;
    await scene.running.done;
    expect(performance.now() - start).toBeLessThan(2500);
    expect(scene.router.waitingPosts).toBe(0);
  });
});

describe('over many requests and reconnects', () => {
  test('neither descriptors nor memory grow', async () => {
    await using scene = await Scene.open({ file: Buffer.alloc(100_000), 'sub/other': 'x' });
    const round = async (): Promise<void> => {
      for (const command of ['get_dataset', 'get_dataset_stream', 'stat', 'list', 'digest', 'get_dataset_missing']) {
        scene.command(command, { limit: 10 });
        const post = await scene.nextAnswer();
        await post.body();
        post.reply(200, {});
        if (command !== 'get_dataset_stream') continue;
        const complete = await scene.nextAnswer();
        await complete.body();
        complete.reply(200, {});
      }
    };
    for (let i = 0; i < 20; i++) await round();
    const before = await countDescriptors();
    for (let i = 0; i < 150; i++) await round();
    expect(await countDescriptors()).toBeLessThanOrEqual(before + 4);
  });

  test('a link that is cut again and again leaves nothing behind', async () => {
    await using scene = await Scene.open({ file: 'x' }, { reconnectMaxMs: 10 });
    scene.link.cut();
    (await scene.router.nextLink()).cut();
    const before = await countDescriptors();
    for (let i = 0; i < 100; i++) (await scene.router.nextLink()).cut();
    await scene.router.nextLink();
    await until(() => scene.router.openSockets <= 2);
    expect(await countDescriptors()).toBeLessThanOrEqual(before + 4);
  });
});
