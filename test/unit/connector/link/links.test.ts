import { once } from 'node:events';
import net, { type AddressInfo } from 'node:net';
import { describe, expect, test } from '@jest/globals';
import { createAgents } from '../../../../src/connector/http/agents.ts';
import { openEventStream } from '../../../../src/connector/link/sse.ts';
import { openWebSocket } from '../../../../src/connector/link/websocket.ts';
import type { RouterClient } from '../../../../src/connector/router-client.ts';
import { createTrust } from '../../../../src/http/trust.ts';
import { RelayError } from '../../../../src/protocol/errors.ts';
import { ForwardProxy } from '../../http/proxy/forward-proxy.ts';
import { findLine, RunningConnector, until, WARN } from '../support-connector.ts';
import { Sandbox } from '../support-dir.ts';
import { FakeRouter, type FakeRouterOptions, problem } from '../support-router.ts';

async function arrange(
  options: FakeRouterOptions = {},
): Promise<AsyncDisposable & { router: FakeRouter; dataDir: string; routerUrl: URL }> {
  const stack = new AsyncDisposableStack();
  const router = stack.use(await FakeRouter.start(options));
  const sandbox = stack.use(await Sandbox.create({ 'a.csv': 'a' }));
  return { router, dataDir: sandbox.data, routerUrl: router.url, [Symbol.asyncDispose]: () => stack.disposeAsync() };
}

describe.each(['websocket', 'sse'] as const)('a %s link', (transport) => {
  test('says who it is and what it can do, below a path prefix', async () => {
    await using scene = await arrange({ prefix: '/some/prefix' });
    await using _ = await RunningConnector.online({
      ...scene,
      transport,
      name: 'Halle 3 – Süd',
      labels: { site: 'köln', 'a=b': 'c,d' },
    });
    const { request, kind } = await scene.router.nextLink();
    expect(kind).toBe(transport);
    expect(request.url).toBe(`/some/prefix/connectors/cc-28-aa-01-02-03/${transport === 'sse' ? 'events' : 'socket'}`);
    expect(request.headers).toMatchObject({
      'relay-capabilities':
        'binary, offset, range, parallel, multipart, stat, list, list-filter, digest, prefix, min-age, cancel, progress, receiving, inline, heartbeat, zstd, gzip',
      'relay-protocol': 'relay.v1',
      'relay-version': '1.2.3-test',
      'relay-name': encodeURIComponent('Halle 3 – Süd'),
      'relay-labels': 'site=k%C3%B6ln,a%3Db=c%2Cd',
      'relay-instance': expect.stringMatching(/^[0-9a-f-]{36}$/),
    });
  });

  test('answers what it does not know with not_supported, never with silence', async () => {
    await using scene = await arrange();
    await using _ = await RunningConnector.online({ ...scene, transport });
    const link = await scene.router.nextLink();
    link.send({ event: 'from the future' });
    link.send({ command: 'make_coffee', request_id: 'r1' });
    const post = await scene.router.nextPost();
    expect(post.path).toBe('datasets/result');
    expect(await post.json()).toMatchObject({ request_id: 'r1', error: { code: 'not_supported' } });
    post.reply(200);
  });

  test('comes back when it is cut, and when the router restarts', async () => {
    await using scene = await arrange();
    await using running = await RunningConnector.online({ ...scene, transport });
    (await scene.router.nextLink()).cut();
    await scene.router.nextLink();
    const { port } = scene.router;
    await scene.router[Symbol.asyncDispose]();
    await findLine(running, /^not connected/);
    await using again = await FakeRouter.start({ port });
    expect((await again.nextLink()).kind).toBe(transport);
  });

  test('is up when the router comes later', async () => {
    await using scene = await arrange();
    const { port } = scene.router;
    await scene.router[Symbol.asyncDispose]();
    await using running = RunningConnector.start({ ...scene, transport });
    expect((await findLine(running, /cannot reach the router/)).level).toBe(WARN);
    const online = once(running.connector, 'online');
    await using later = await FakeRouter.start({ port });
    expect((await later.nextLink()).kind).toBe(transport);
    await online;
  });

  test('does not fight back when it is replaced', async () => {
    await using scene = await arrange();
    await using running = await RunningConnector.online({ ...scene, transport, reconnectMaxMs: 100_000 });
    (await scene.router.nextLink()).close(4000, 'replaced by a newer connection from 10.0.0.9');
    await once(running.connector, 'offline');
    expect(await findLine(running, /another connector uses this MAC/)).toMatchObject({
      level: WARN,
      reason: 'replaced by a newer connection from 10.0.0.9',
      pauseMs: expect.any(Number),
    });
    expect(scene.router.upgrades + scene.router.streams).toBe(1);
  });

  test('notices a router that vanished without a word', async () => {
    // The router's machine is gone: nothing comes, and nothing is refused.
    await using scene = await arrange();
    await using proxy = await Proxy.start(scene.router.port);
    await using running = await RunningConnector.online({
      ...scene,
      routerUrl: proxy.url,
      transport,
      heartbeatIntervalMs: 50,
      heartbeatTimeoutMs: 200,
    });
    await scene.router.nextLink();
    proxy.freeze();
    const [reason] = await once(running.connector, 'offline');
    expect(reason).toBe('nothing heard for 0.2 s');
  });

  test('measures a round trip when it is asked to', async () => {
    await using scene = await arrange();
    const agents = createAgents(() => undefined, createTrust(undefined));
    const heartbeats: string[] = [];
    const open = transport === 'websocket' ? openWebSocket : openEventStream;
    const opening = open(
      {
        routerUrl: scene.routerUrl,
        path: 'connectors/cc-28-aa-01-02-03',
        headers: () => ({}),
        connectTimeoutMs: 2000,
        heartbeatIntervalMs: 60_000,
        heartbeatTimeoutMs: 60_000,
        agents,
        router: { postHeartbeat: async (id: string) => void heartbeats.push(id) } as unknown as RouterClient,
        onMessage: () => {},
      },
      new AbortController().signal,
    );
    const far = await scene.router.nextLink();
    const link = await opening;
    expect(await link.measureRoundTrip()).toBeGreaterThanOrEqual(0);
    expect(await link.measureRoundTrip()).toBeGreaterThanOrEqual(0);
    expect(link.roundTripMs).toBeGreaterThan(0);
    expect(heartbeats.length).toBeGreaterThanOrEqual(transport === 'sse' ? 2 : 0);
    far.close(1000, 'over');
    await link.closed;
    agents.close();
  });

  test('closes with nothing left behind', async () => {
    await using scene = await arrange();
    const running = await RunningConnector.online({ ...scene, transport });
    const link = await scene.router.nextLink();
    await running.connector.close();
    await running.done;
    await link.closed;
    await until(() => scene.router.openSockets === 0);
    expect(running.log.at(-1)?.msg).toBe('connected to router');
  });

  test('can be closed while nobody answers', async () => {
    await using scene = await arrange({ upgrade: 'swallow', events: 'hold' });
    const running = RunningConnector.start({ ...scene, transport, connectTimeoutMs: 60_000 });
    await until(() => scene.router.upgrades + scene.router.streams > 0);
    await running.connector.close();
    await until(() => scene.router.openSockets === 0);
    await expect(running.done).resolves.toBeUndefined();
  });
});

test('a heartbeat that nobody answers is no round trip', async () => {
  await using scene = await arrange();
  const agents = createAgents(() => undefined, createTrust(undefined));
  const refused = new RelayError('router_unreachable', 'nobody there');
  const opening = openEventStream(
    {
      routerUrl: scene.routerUrl,
      path: 'connectors/cc-28-aa-01-02-03',
      headers: () => ({}),
      connectTimeoutMs: 2000,
      heartbeatIntervalMs: 60_000,
      heartbeatTimeoutMs: 60_000,
      agents,
      router: { postHeartbeat: () => Promise.reject(refused) } as unknown as RouterClient,
      onMessage: () => {},
    },
    new AbortController().signal,
  );
  const far = await scene.router.nextLink();
  const link = await opening;
  await expect(link.measureRoundTrip()).rejects.toThrow('no heartbeat was answered');
  far.close(1000, 'over');
  await link.closed;
  agents.close();
});

describe.each(['websocket', 'sse', 'auto'] as const)('a refusal of the proxy (%s)', (transport) => {
  test.each([
    [407, /asks for credentials, and none are configured/],
    [403, /allows no connection|something in between refused/],
  ])("with HTTP %s is not the router's: it is logged, and the connector tries on", async (status, words) => {
    await using scene = await arrange();
    await using proxy = await ForwardProxy.start();
    proxy.refusal = status;
    const url = new URL(`http://127.0.0.1:${proxy.port}`);
    await using running = RunningConnector.start({ ...scene, transport, chooseProxy: () => url });
    const line = await findLine(running, /not connected; trying again/);
    expect([line.level, line.reason]).toEqual([WARN, expect.stringMatching(words)]);
    expect(line.reason).toContain(`the proxy http://127.0.0.1:${proxy.port}`);
    proxy.refusal = undefined;
    await once(running.connector, 'online');
  });
});

describe('a WebSocket link', () => {
  test.each(['websocket', 'auto'] as const)(
    'that meets another version ends with its words (%s)',
    async (transport) => {
      await using scene = await arrange({
        upgrade: { status: 426, body: problem('upgrade_required', { detail: 'this router speaks relay.v2' }) },
      });
      await using running = RunningConnector.start({ ...scene, transport });
      await expect(running.done).rejects.toMatchObject({
        code: 'upgrade_required',
        message: 'the router refused the connection: this router speaks relay.v2',
        exitCode: 1,
      });
    },
  );

  test.each<[FakeRouterOptions['upgrade'], RegExp]>([
    [{ status: 404 }, /no router answers at this address/],
    [{ status: 502 }, /the router behind it may be down/],
    [{ status: 403 }, /something in between refused/],
    [{ status: 200 }, /expected a WebSocket, and the answer was HTTP 200/],
    ['drop', /broke while the link was opened/],
    ['swallow', /no sign of life came through it in 0.3 s/],
  ])('that meets %j says so in plain words', async (upgrade, words) => {
    await using scene = await arrange({ upgrade: upgrade as never });
    await using running = RunningConnector.start({ ...scene, transport: 'websocket', connectTimeoutMs: 300 });
    expect((await findLine(running, words)).level).toBe(WARN);
  });
});

describe('an SSE link', () => {
  test('sends heartbeats that name it, and reconnects when the router no longer knows it', async () => {
    await using scene = await arrange();
    await using _ = await RunningConnector.online({ ...scene, transport: 'sse', heartbeatIntervalMs: 30 });
    await scene.router.nextLink();
    await until(() => scene.router.heartbeats.length >= 2);
    expect(scene.router.heartbeats[0]).toEqual({ linkId: 'link-1', body: '' });
    scene.router.options = { heartbeat: 410 };
    await scene.router.nextLink();
    scene.router.options = {};
    await until(() => scene.router.heartbeats.some(({ linkId }) => linkId === `link-${scene.router.streams}`));
  });

  test('counts as up only when the first bytes came through', async () => {
    await using scene = await arrange({ events: 'hold' });
    await using running = RunningConnector.start({ ...scene, transport: 'sse', connectTimeoutMs: 200 });
    expect((await findLine(running, /no sign of life/)).level).toBe(WARN);
  });

  test('takes a command that comes in pieces, whatever else is in the stream', async () => {
    await using scene = await arrange();
    await using _ = await RunningConnector.online({ ...scene, transport: 'sse' });
    const { write } = await scene.router.nextLink();
    const event = Buffer.from('id: 7\r\ndata: {"command":"stat","request_id":"r1","dataset_name":"ä.csv"}\r\n\r\n');
    write(': a comment\nretry: 100\nevent: news\ndata: {"command":"stat","request_id":"r0","dataset_name":"x"}\n\n');
    for (const text of event.toString()) {
      write(text);
      await new Promise(setImmediate);
    }
    const post = await scene.router.nextPost();
    expect(await post.json()).toMatchObject({ request_id: 'r1', error: { message: expect.stringContaining('ä.csv') } });
  });

  test('ends at an event beyond the limit, with bounded memory', async () => {
    await using scene = await arrange();
    await using running = await RunningConnector.online({ ...scene, transport: 'sse' });
    const { write } = await scene.router.nextLink();
    write(`data: ${'x'.repeat(1024 * 1024)}`);
    const [reason] = await once(running.connector, 'offline');
    expect(reason).toBe('the router sent an event beyond the limit');
  });
});

describe('auto', () => {
  test('prefers WebSocket', async () => {
    await using scene = await arrange();
    await using _ = await RunningConnector.online(scene);
    expect((await scene.router.nextLink()).kind).toBe('websocket');
    expect(scene.router.streams).toBe(0);
  });

  test.each<[string, FakeRouterOptions['upgrade']]>([
    ['answers an upgrade with an error', { status: 400 }],
    ['answers an upgrade with a page', { status: 200 }],
    ['drops the connection', 'drop'],
    ['accepts the upgrade and swallows what follows', 'swallow'],
  ])('falls back to SSE where something in between %s', async (_, upgrade) => {
    await using scene = await arrange({ upgrade: upgrade as never });
    await using running = await RunningConnector.online({ ...scene, connectTimeoutMs: 300 });
    const link = await scene.router.nextLink();
    expect(link.kind).toBe('sse');
    expect(running.log).toContainEqual(
      expect.objectContaining({ level: WARN, msg: 'WebSocket does not get through; using Server-Sent Events' }),
    );
    // The next link is SSE at once, without waiting for WebSocket to fail again.
    const { upgrades } = scene.router;
    link.cut();
    expect((await scene.router.nextLink()).kind).toBe('sse');
    expect(scene.router.upgrades).toBe(upgrades);
  });

  test('falls back behind a proxy that strips Upgrade', async () => {
    await using scene = await arrange();
    await using proxy = await Proxy.start(scene.router.port, (text) =>
      text.replace(/^(Upgrade|Connection): .*\r\n/gim, ''),
    );
    await using _ = await RunningConnector.online({ ...scene, routerUrl: proxy.url });
    expect((await scene.router.nextLink()).kind).toBe('sse');
  });

  test('does not blame WebSocket when the router cannot be reached', async () => {
    await using scene = await arrange();
    const { port } = scene.router;
    await scene.router[Symbol.asyncDispose]();
    await using running = RunningConnector.start(scene);
    await until(() => running.log.filter(({ msg }) => msg.startsWith('not connected')).length >= 3);
    await using later = await FakeRouter.start({ port });
    expect((await later.nextLink()).kind).toBe('websocket');
    expect(later.streams).toBe(0);
  });

  test('tries WebSocket again later and moves over', async () => {
    await using scene = await arrange({ upgrade: { status: 400 } });
    await using running = await RunningConnector.online({ ...scene, websocketRetryMs: 100 });
    const stream = await scene.router.nextLink();
    expect(stream.kind).toBe('sse');
    await until(() => scene.router.upgrades >= 2);
    scene.router.options = {};
    const [{ kind }] = (await once(running.connector, 'online')) as [{ kind: string }];
    expect(kind).toBe('websocket');
    expect((await scene.router.nextLink()).kind).toBe('websocket');
    await stream.closed;
    expect(running.log.some(({ msg }) => msg === 'the link to the router was lost')).toBe(false);
  });
});

/** Passes bytes both ways until it is frozen; may change what the client says first. */
class Proxy implements AsyncDisposable {
  readonly #server: net.Server;
  readonly #sockets = new Set<net.Socket>();
  #isFrozen = false;

  private constructor(port: number, edit: (text: string) => string) {
    this.#server = net.createServer((client) => {
      if (this.#isFrozen) {
        this.#sockets.add(client);
        return;
      }
      const upstream = net.connect(port, '127.0.0.1');
      for (const socket of [client, upstream]) {
        this.#sockets.add(socket);
        socket.on('error', () => {});
        socket.on('close', () => {
          this.#sockets.delete(socket);
          client.destroy();
          upstream.destroy();
        });
      }
      client.on('data', (bytes) => {
        if (!this.#isFrozen) upstream.write(Buffer.from(edit(bytes.toString('latin1')), 'latin1'));
      });
      upstream.on('data', (bytes) => {
        if (!this.#isFrozen) client.write(bytes);
      });
    });
  }

  static async start(port: number, edit: (text: string) => string = (text) => text): Promise<Proxy> {
    const proxy = new Proxy(port, edit);
    proxy.#server.listen(0, '127.0.0.1');
    await once(proxy.#server, 'listening');
    return proxy;
  }

  get url(): URL {
    return new URL(`http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`);
  }

  freeze(): void {
    this.#isFrozen = true;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }
}
