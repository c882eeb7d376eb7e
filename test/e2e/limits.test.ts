import { mkdir, readFile, writeFile } from 'node:fs/promises';
import http from 'node:http';
import https from 'node:https';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { Mac } from '../../src/protocol/mac.ts';
import { signToken } from '../../src/router/access/token.ts';
import { makeCertificate } from '../support/certificates.ts';
import { Crowd } from '../support/crowd.ts';
import { readMetric, untilMetric } from '../support/metrics.ts';
import { Neighbour, NEIGHBOUR_MAC } from '../support/neighbour.ts';
import { ask } from '../support/plain-app.ts';
import { PlainConnector } from '../support/plain-connector.ts';
import { readMemory, RoleProcess, runRelay, startConnectorProcess, startRouterProcess } from '../support/processes.ts';
import { makeTempDir } from '../support/router.ts';

const SECRET = 'a secret of more than thirty-two characters';
const STREAM = '/datasets/request-stream';
const MACS = [1, 2, 3, 4].map((last) => `cc-28-aa-02-00-0${last}`);
const MIB = 1024 * 1024;

const bearer = (token: string): { Authorization: string } => ({ Authorization: `Bearer ${token}` });
const app = (): Promise<string> => signToken({ role: 'app', macs: ['*'], datasets: ['**'] }, SECRET);
const connector = (mac: string): Promise<string> => signToken({ role: 'connector', macs: [mac as Mac] }, SECRET);
const refused = (reason: string): string => `relay_refused_total{reason="${reason}"}`;

let router: Awaited<ReturnType<typeof startRouterProcess>>;
let monitor: string;
let neighbour: Neighbour;
const resources = new AsyncDisposableStack();

beforeAll(async () => {
  const waits = ['--headers-timeout', '6s', '--body-timeout', '6s', '--silence-timeout', '300s'];
  router = resources.use(await startRouterProcess(waits, { RELAY_SECRET: SECRET }));
  monitor = await signToken({ role: 'monitor', macs: ['*'] }, SECRET);
  const tokens = { connector: await connector(NEIGHBOUR_MAC), app: await app() };
  neighbour = resources.use(await Neighbour.start(router.url, tokens));
  await neighbour.served(20);
}, 60_000);

afterAll(() => resources.disposeAsync());

const untilAtMost = (most: number, name: string): Promise<void> =>
  untilMetric(router.url, name, (value) => value <= most, monitor);
const metric = (name: string): Promise<number> => readMetric(router.url, name, monitor);

/** Does something bad to the router, during which a neighbour is served and memory grows by no more than `maxGrowth`. */
async function suffer(maxGrowth: number, attack: (scene: AsyncDisposableStack) => Promise<void>): Promise<number> {
  const before = (await readMemory(router.pid)).resident;
  let most = 0;
  {
    await using scene = new AsyncDisposableStack();
    const watch = setInterval(() => {
      void readMemory(router.pid).then(({ resident }) => {
        most = Math.max(most, resident);
      });
    }, 50);
    scene.defer(() => clearInterval(watch));
    await attack(scene);
    await neighbour.served(3);
  }
  const growth = most - before;
  expect(growth).toBeLessThan(maxGrowth);
  // What is left is the neighbour: its link, and at most one request of each of its two sides.
  await untilAtMost(1, 'relay_held_requests{side="app"}');
  await untilAtMost(1, 'relay_held_requests{side="connector"}');
  await untilAtMost(1, 'relay_pending_exchanges');
  await untilAtMost(4, 'relay_connections');
  return growth;
}

async function connectAll(scene: AsyncDisposableStack): Promise<PlainConnector[]> {
  const nodes = [];
  for (const mac of MACS) {
    nodes.push(scene.use(await PlainConnector.connect(router.url, { mac, token: await connector(mac) })));
  }
  return nodes;
}

test('10,000 requests of one app: 500 are held, the others told to come back', async () => {
  await suffer(200 * MIB, async (scene) => {
    await connectAll(scene);
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1000 });
    scene.defer(() => agent.destroy());
    const headers = { ...bearer(await app()), 'Content-Type': 'application/json' };
    const statuses = new Map<number, number>();
    const all = Promise.withResolvers<void>();
    let answered = 0;
    for (let count = 0; count < 10_000; count++) {
      const request = http.request(`${router.url}${STREAM}`, { method: 'POST', agent, headers }, (response) => {
        const status = response.statusCode ?? 0;
        statuses.set(status, (statuses.get(status) ?? 0) + 1);
        expect(response.headers['retry-after']).toBe('5');
        response.resume();
        if (++answered === 9500) all.resolve();
      });
      request.on('error', () => {});
      request.end(JSON.stringify({ mac: MACS[count % MACS.length], dataset: 'a.csv' }));
    }
    await all.promise;
    expect([...statuses]).toEqual([[429, 9500]]);
    expect(await metric(refused('requests_per_client'))).toBe(9500);
    expect(await metric('relay_pending_exchanges')).toBeGreaterThanOrEqual(500);
    await neighbour.served(10);
  });
  // The log speaks of it, and not ten thousand times.
  const lines = router.log.filter(({ reason }) => reason === 'requests_per_client');
  expect(lines.length).toBeGreaterThan(0);
  expect(lines.length).toBeLessThan(60);
}, 120_000);

test('1,500 heads and 400 bodies that never end', async () => {
  await suffer(200 * MIB, async (scene) => {
    const heads = scene.use(new Crowd(router.url, '127.0.0.2'));
    await heads.join(1500, `POST ${STREAM} HTTP/1.1\r\nHost: localhost\r\nX-Slow: `);
    const bodies = scene.use(new Crowd(router.url, '127.0.0.3'));
    const authorization = `Authorization: Bearer ${await app()}`;
    await bodies.join(
      400,
      `POST ${STREAM} HTTP/1.1\r\nHost: localhost\r\n${authorization}\r\nContent-Length: 1000000\r\n\r\n{`,
    );
    const trickle = setInterval(() => {
      heads.say('x');
      bodies.say(' ');
    }, 500);
    scene.defer(() => clearInterval(trickle));
    await neighbour.served(10);
    await heads.ended();
    await bodies.ended();
    for (const text of heads.texts) expect(text).toMatch(/^HTTP\/1\.1 408 /);
    for (const text of bodies.texts) expect(text).toMatch(/^HTTP\/1\.1 504 [^]*"request_timeout"/);
  });
}, 120_000);

test('3,000 connections from one address', async () => {
  await suffer(200 * MIB, async (scene) => {
    const crowd = scene.use(new Crowd(router.url, '127.0.0.4'));
    await crowd.join(3000);
    await neighbour.served(10);
    await crowd.ended();
    expect(await metric(refused('connections_per_address'))).toBe(1000);
    expect(crowd.resets).toBeGreaterThanOrEqual(900);
  });
}, 120_000);

test.each(['socket', 'events'])(
  'connectors on %s that never read',
  async (path) => {
    await suffer(200 * MIB, async (scene) => {
      const headers = bearer(await app());
      const before = await metric(refused('link_unread'));
      const upgrade =
        path === 'socket'
          ? 'Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n'
          : '';
      for (const mac of MACS) {
        const crowd = scene.use(new Crowd(router.url, '127.0.0.5'));
        const authorization = `Authorization: Bearer ${await connector(mac)}`;
        await crowd.join(
          1,
          `GET /connectors/${mac}/${path} HTTP/1.1\r\nHost: localhost\r\n${authorization}\r\n${upgrade}\r\n`,
        );
        crowd.stopReading();
      }
      await untilMetric(router.url, 'relay_connectors{state="online"}', MACS.length + 1, monitor);
      const dataset = Array.from({ length: 20 }, () => 'x'.repeat(200)).join('/');
      while ((await metric(refused('link_unread'))) < before + MACS.length) {
        const asked = Array.from({ length: 400 }, (_, index) =>
          ask(router.url, STREAM, { mac: MACS[index % MACS.length], dataset }, headers),
        );
        await neighbour.served(2);
        for (const { request } of asked) request.destroy();
      }
      expect(await metric(refused('link_unread'))).toBe(before + MACS.length);
    });
  },
  120_000,
);

test('200 apps that never read what they asked for hold no more than their own buffers', async () => {
  const growth = await suffer(400 * MIB, async (scene) => {
    const nodes = await connectAll(scene);
    const headers = bearer(await app());
    const piece = Buffer.alloc(256 * 1024);
    const asked = Array.from({ length: 200 }, (_, index) =>
      ask(router.url, STREAM, { mac: MACS[index % MACS.length], dataset: 'big' }, headers),
    );
    scene.defer(() => {
      for (const { request } of asked) request.destroy();
    });
    for (const { response } of asked) void response.then((message) => message.pause());
    let full = 0;
    const stuck = Promise.withResolvers<void>();
    for (const index of asked.keys()) {
      const node = nodes[index % nodes.length] as PlainConnector;
      const { request_id } = await node.next();
      const post = node.begin('/datasets/stream/chunk', request_id, { 'Relay-Offset': 0, 'Relay-Total-Size': 1e12 });
      post.request.on('error', () => {});
      scene.defer(() => {
        post.request.destroy();
      });
      // Writes until nothing more is taken for a while: until then there is always another drain.
      let quiet: NodeJS.Timeout | undefined;
      const fill = (): void => {
        clearTimeout(quiet);
        quiet = setTimeout(() => {
          if (++full === asked.length) stuck.resolve();
        }, 2000);
        while (post.request.write(piece));
      };
      scene.defer(() => clearTimeout(quiet));
      post.request.on('drain', fill);
      fill();
    }
    await stuck.promise;
    await neighbour.served(10);
  });
  expect(growth / 200).toBeLessThan(1.5 * MIB);
}, 120_000);

test('1,500 TLS handshakes that never end', async () => {
  await using directory = await makeTempDir();
  const files = { key: join(directory.path, 'key.pem'), cert: join(directory.path, 'cert.pem') };
  await makeCertificate(files);
  const args = ['--tls-cert', files.cert, '--tls-key', files.key, '--handshake-timeout', '4s'];
  await using secure = await startRouterProcess(args);
  const dataDir = join(directory.path, 'data');
  await mkdir(dataDir);
  await writeFile(join(dataDir, 'a.csv'), 'a,b\n');
  const ca = ['--ca', files.cert];
  await using _connector = await startConnectorProcess(secure.url, MACS[0] as string, dataDir, ca);
  const look = async (): Promise<void> => {
    const got = await runRelay(['app', 'request-sync', '--router', secure.url, ...ca, MACS[0] as string, 'a.csv']);
    expect(got).toMatchObject({ code: 0, stdout: Buffer.from('a,b\n') });
  };
  await look();
  const before = (await readMemory(secure.pid)).resident;
  await using crowd = new Crowd(secure.url);
  await Promise.all([crowd.join(750), crowd.join(750, '\x16\x03\x01\x02\x00\x01'), look()]);
  await look();
  expect((await readMemory(secure.pid)).peak - before).toBeLessThan(300 * MIB);
  await crowd.ended();
  await look();
  const certificate = await readFile(files.cert, 'utf8');
  const readMetrics = (): Promise<string> => getSecurely(`${secure.url}/metrics`, certificate);
  expect(await readMetrics()).toContain(`${refused('handshake_timeout')} 1500\n`);
  // The connector's link, perhaps a connection that it keeps, and this one.
  while (Number(/^relay_connections (\d+)$/m.exec(await readMetrics())?.[1]) > 3) await pause();
}, 120_000);

const pause = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 50));

function getSecurely(url: string, ca: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const request = https.get(url, { ca, agent: false }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (part: string) => (text += part));
      response.on('end', () => resolve(text));
    });
    request.on('error', reject);
  });
}

test('a limit of open files too low for the connections is told at the start, and those beyond it are told so', async () => {
  const through = ['sh', '-c', 'ulimit -n 200; exec "$@"', 'sh'];
  await using directory = await makeTempDir();
  const args = ['router', '--port', '0', '--state-dir', join(directory.path, 'state'), '--headers-timeout', '60s'];
  await using small = new RoleProcess(args, { cwd: directory.path, through });
  const { url } = await small.logged((line) => typeof line['url'] === 'string');
  expect(await small.logged(({ openFiles }) => openFiles !== undefined)).toMatchObject({
    level: 'warn',
    msg: expect.stringContaining('set it to 30150'),
    openFiles: 200,
    maxConnections: 33,
  });
  await using idle = new Crowd(String(url));
  await idle.join(33);
  await using beyond = new Crowd(String(url));
  await beyond.join(367);
  await beyond.ended();
  const { status, headers, json } = await ask(String(url), STREAM).answer;
  expect([status, headers['retry-after'], json()['code']]).toEqual([503, '10', 'overloaded']);
  expect(small.log).toContainEqual(expect.objectContaining({ reason: 'connections', level: 'warn' }));
  await small.end();
});
