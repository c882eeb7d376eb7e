import { createHash, randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type Obstruction, ObstructingProxy } from '../../support/obstructing-proxy.ts';
import { type AppCall, ask } from '../../support/plain-app.ts';
import { startRouter } from '../../support/router.ts';
import { RunningConnector, until, WARN } from '../../unit/connector/support-connector.ts';
import { Sandbox } from '../../unit/connector/support-dir.ts';

const KIB = 1024;
const MIB = 1024 * KIB;
const RECEIVING_TIMEOUT_MS = 400;
const CONTENT = randomBytes(20 * MIB + 5);
const SMALL = CONTENT.subarray(0, 3 * MIB + 1);
const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');

const PATTERNS = ['request-sync', 'request-stream', 'request-offload'] as const;
type Pattern = (typeof PATTERNS)[number];

let sandbox: Sandbox;
beforeAll(async () => {
  sandbox = await Sandbox.create({ 'big.bin': CONTENT, 'small.bin': SMALL });
});
afterAll(() => sandbox[Symbol.asyncDispose]());

type StartedRouter = Awaited<ReturnType<typeof startRouter>>;

/** A connector whose way to the router leads through a proxy; the app has a way of its own. */
class Way implements AsyncDisposable {
  readonly proxy: ObstructingProxy;
  readonly node: RunningConnector;
  readonly #router: StartedRouter;

  private constructor(router: StartedRouter, proxy: ObstructingProxy, node: RunningConnector) {
    this.#router = router;
    this.proxy = proxy;
    this.node = node;
  }

  static async through(obstruction: Obstruction): Promise<Way> {
    const router = await startRouter();
    const proxy = await ObstructingProxy.to(router.url, obstruction);
    // Where a proxy does something else, a busy machine must not look like one that holds bodies back.
    const doesOther = (obstruction.refuseAbove ?? obstruction.giveUpAfter) !== undefined;
    const receivingTimeoutMs = doesOther ? 5000 : RECEIVING_TIMEOUT_MS;
    // Nor like one that is far, to which shorter bodies go side by side.
    const options = { transport: 'sse', maxParallel: 1, receivingTimeoutMs } as const;
    const node = await RunningConnector.online({ routerUrl: proxy.url, dataDir: sandbox.data, ...options });
    return new Way(router, proxy, node);
  }

  /** An app's request under way. */
  ask(pattern: Pattern, dataset: string): AppCall {
    const body = { mac: 'cc-28-aa-01-02-03', dataset };
    // What is in the store already is uploaded anew.
    const headers = { Accept: 'application/octet-stream', 'Cache-Control': 'no-cache' };
    return ask(this.#router.url, `/datasets/${pattern}`, body, headers);
  }

  /** What the app gets. */
  async fetch(pattern: Pattern, dataset: string): Promise<Buffer> {
    const got = await this.ask(pattern, dataset).answer;
    if (got.status !== 200) throw new Error(got.bytes.toString());
    if (got.error !== undefined) throw got.error;
    if (pattern !== 'request-offload') return got.bytes;
    const response = await fetch(String(got.json()['download_url']));
    return Buffer.from(await response.arrayBuffer());
  }

  /** The warnings about bodies that do not get through. */
  get warnings(): string[] {
    return this.node.log
      .filter(({ level, msg }) => level === WARN && /smaller/.test(msg))
      .map((line) => line.reason ?? '');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.node[Symbol.asyncDispose]();
    await this.proxy[Symbol.asyncDispose]();
    await this.#router[Symbol.asyncDispose]();
  }
}

describe.each(PATTERNS)('%s behind a proxy', (pattern) => {
  test.each([
    ['small.bin', SMALL],
    ['big.bin', CONTENT],
  ])('that takes bodies of 1 MiB: %s arrives, and the next one without a refusal', async (name, content) => {
    await using way = await Way.through({ refuseAbove: MIB });
    expect(sha256(await way.fetch(pattern, name))).toBe(sha256(content));
    expect(way.warnings).toEqual([expect.stringContaining('client_max_body_size')]);
    const refused = way.proxy.list('refused').length;
    expect(refused).toBeGreaterThan(0);
    const count = way.proxy.list('passed').length;
    expect(sha256(await way.fetch(pattern, name))).toBe(sha256(content));
    // What is learnt by one pattern is known to the others.
    if (pattern === 'request-offload') expect(sha256(await way.fetch('request-stream', name))).toBe(sha256(content));
    expect(way.proxy.list('refused')).toHaveLength(refused);
    const passed = way.proxy.list('passed').map(({ length }) => length);
    const sum = passed.slice(count).reduce((total, length) => total + length, 0);
    expect(sum).toBeGreaterThanOrEqual(content.length * (pattern === 'request-offload' ? 2 : 1));
    expect(Math.max(...passed)).toBe(512 * KIB);
  });

  test('that takes bodies of 10 MiB: it goes in such of 8 MiB', async () => {
    await using way = await Way.through({ refuseAbove: 10 * MIB });
    expect(sha256(await way.fetch(pattern, 'big.bin'))).toBe(sha256(CONTENT));
    expect(Math.max(...way.proxy.list('passed').map(({ length }) => length))).toBe(8 * MIB);
  });

  test('that gives up on long bodies: it goes on from where the router is', async () => {
    await using way = await Way.through({ giveUpAfter: 9 * MIB });
    expect(sha256(await way.fetch(pattern, 'big.bin'))).toBe(sha256(CONTENT));
    expect(way.warnings).toEqual([expect.stringContaining('client_body_timeout')]);
    if (pattern === 'request-offload') return;
    const [first, second] = way.proxy.list('passed').filter(({ length, path }) => length > MIB && /chunk/.test(path));
    expect(Number(first?.offset)).toBeGreaterThan(0);
    expect(Number(second?.offset)).toBe(Number(first?.offset) + 8 * MIB);
  });
});

describe.each(['request-sync', 'request-stream'] as const)('%s behind a proxy', (pattern) => {
  test('that keeps long bodies to itself: it stops waiting, and goes in shorter ones', async () => {
    await using way = await Way.through({ swallowAbove: 8 * MIB });
    expect(sha256(await way.fetch(pattern, 'big.bin'))).toBe(sha256(CONTENT));
    expect(way.warnings).toEqual([expect.stringContaining('proxy_request_buffering off')]);
    expect(way.proxy.list('swallowed')).toHaveLength(1);
    expect(way.proxy.list('passed').map(({ length }) => length)).toEqual(expect.arrayContaining([0, 8 * MIB]));
  });

  test.each([
    ['small.bin', SMALL, [SMALL.length]],
    ['big.bin', CONTENT, [CONTENT.length, 8 * MIB]],
  ])('that keeps bodies above 1 MiB to itself: %s goes in the shortest ones', async (name, content, swallowed) => {
    await using way = await Way.through({ swallowAbove: MIB });
    expect(sha256(await way.fetch(pattern, name))).toBe(sha256(content));
    expect(way.proxy.list('swallowed').map(({ length }) => length)).toEqual(swallowed);
    expect(Math.max(...way.proxy.list('passed').map(({ length }) => length))).toBe(512 * KIB);
  });

  test('that fails for a moment: a chunk is sent again', async () => {
    await using way = await Way.through({ refuseAbove: MIB, failOnceBelow: MIB });
    expect(sha256(await way.fetch(pattern, 'small.bin'))).toBe(sha256(SMALL));
    expect(way.proxy.list('failed')).toHaveLength(1);
  });

  test('that takes next to nothing: the failure says which setting to change', async () => {
    await using way = await Way.through({ refuseAbove: 100 * KIB });
    await expect(way.fetch(pattern, 'small.bin')).rejects.toThrow(/client_max_body_size/);
  });
});

test('a new link tries the long way again', async () => {
  await using way = await Way.through({ refuseAbove: MIB });
  await way.fetch('request-stream', 'small.bin');
  way.proxy.obstruction = {};
  const links = (): number => way.node.log.filter(({ msg }) => msg === 'connected to router').length;
  const before = links();
  way.proxy.cut();
  await until(() => links() > before);
  way.proxy.bodies.length = 0;
  expect(sha256(await way.fetch('request-stream', 'small.bin'))).toBe(sha256(SMALL));
  expect(way.proxy.bodies.map(({ length }) => length)).toContain(SMALL.length);
});

test('a body that arrives goes in one piece, however long the app lets it wait', async () => {
  await using way = await Way.through({});
  const { response, answer } = way.ask('request-stream', 'big.bin');
  const reading = await response;
  reading.pause();
  await new Promise((resolve) => {
    setTimeout(resolve, 3 * RECEIVING_TIMEOUT_MS);
  });
  reading.resume();
  expect(sha256((await answer).bytes)).toBe(sha256(CONTENT));
  expect(way.proxy.bodies.filter(({ path }) => /chunk/.test(path))).toHaveLength(1);
  expect(way.warnings).toEqual([]);
});
