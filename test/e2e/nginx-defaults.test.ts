import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createHash, randomFillSync } from 'node:crypto';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { findFreePort, type Nginx, startNginx } from '../support/nginx.ts';
import { ask, call } from '../support/plain-app.ts';
import { PlainConnector } from '../support/plain-connector.ts';
import { RoleProcess, run, runRelay, startConnectorProcess, startRouterProcess } from '../support/processes.ts';
import { makeTempDir } from '../support/router.ts';
import { SlowLine } from '../support/slow-line.ts';

const NODE = 'cc-28-aa-01-02-03';
const OTHER = 'cc-28-aa-01-02-04';
const MB = 1_000_000;
const DATASETS = { 'five.bin': 5 * MB, 'hundred.bin': 100 * MB } as const;
type Dataset = keyof typeof DATASETS;

const resources = new AsyncDisposableStack();
const digests = new Map<string, string>();
/** nginx with a server at its defaults, and one whose patience is 2 s in place of 60, and which passes responses on at once. */
let nginx: Nginx;
let defaults = '';
let impatient = '';
/** The router itself, for what stands on the other side of nginx. */
let direct = '';
let dataDir = '';
let outDir = '';
let connector: RoleProcess;

beforeAll(async () => {
  dataDir = resources.use(await makeTempDir()).path;
  outDir = resources.use(await makeTempDir()).path;
  for (const [name, size] of Object.entries(DATASETS)) {
    const bytes = randomFillSync(Buffer.alloc(size));
    digests.set(name, sha256(bytes));
    await writeFile(join(dataDir, name), bytes);
  }
  const [port, otherPort] = [await findFreePort(), await findFreePort()];
  defaults = `http://127.0.0.1:${port}`;
  impatient = `http://127.0.0.1:${otherPort}`;
  // nginx at its defaults does not say by which address it was reached.
  const args = ['--public-url', defaults, '--heartbeat-interval', '1s', '--reconnect-wait', '2s'];
  const router = resources.use(await startRouterProcess(args));
  direct = router.url;
  const directives = 'proxy_read_timeout 2s; proxy_send_timeout 2s; proxy_buffering off;';
  nginx = resources.use(
    await startNginx([
      { port, upstream: direct },
      { port: otherPort, upstream: direct, directives },
    ]),
  );
  connector = resources.use(await startConnectorProcess(defaults, NODE, dataDir));
}, 60_000);

afterAll(() => resources.disposeAsync(), 60_000);

describe('behind nginx at its defaults', () => {
  test('a connector comes to Server-Sent Events by itself, and says why', async () => {
    expect(await connector.logged(({ msg }) => msg === 'connected to router')).toMatchObject({ link: 'sse' });
    const { reason } = await connector.logged(({ msg }) => /using Server-Sent Events/.test(msg ?? ''));
    expect(reason).toMatch(/Upgrade.*proxy/);
  });

  test('a connector that is to use a WebSocket says what is in the way, and goes on trying', async () => {
    const args = ['--router', defaults, '--mac', OTHER, '--data-dir', dataDir, '--transport', 'websocket'];
    await using stubborn = new RoleProcess(['connector', ...args]);
    const line = await stubborn.logged(({ msg }) => /not connected/.test(msg ?? ''));
    expect(line).toMatchObject({ level: expect.any(String), reason: expect.stringMatching(/Upgrade.*proxy/) });
    await stubborn.logged(({ attempt }) => attempt === 1);
    expect(await stubborn.end()).toBe(0);
    const limited = new RoleProcess(['connector', ...args, '--give-up-after', '1s']);
    expect(await limited.exited).toBe(8);
  });

  test.each<[string, Dataset]>([
    ['request-sync', 'five.bin'],
    ['request-stream', 'five.bin'],
    ['request-stream', 'hundred.bin'],
    ['request-offload', 'five.bin'],
    ['request-offload', 'hundred.bin'],
  ])(
    '%s brings %s whole',
    async (command, dataset) => {
      const target = join(outDir, `${command}-${dataset}`);
      const args = ['app', command, '--router', defaults, '-o', target, '--', NODE, dataset];
      expect(await runRelay(args)).toMatchObject({ code: 0, stderr: '' });
      expect(sha256(await readFile(target))).toBe(digests.get(dataset));
    },
    60_000,
  );

  test('the log of the connector says once which setting to change', async () => {
    await connector.logged(({ reason }) => /client_max_body_size/.test(String(reason)));
    const refusals = connector.log.filter(({ reason }) => /client_max_body_size/.test(String(reason)));
    expect(refusals).toHaveLength(1);
    expect((await nginx.readAccessLog()).filter((line) => line.endsWith(' 413')).length).toBeGreaterThan(0);
  });

  test.each(['request-stream', 'request-sync'])('curl gets what it asked for (%s)', async (way) => {
    const target = join(outDir, 'by-curl');
    expect((await run('curl', curlArgs(way, NODE, 'five.bin', '-o', target))).code).toBe(0);
    expect(sha256(await readFile(target))).toBe(digests.get('five.bin'));
  });

  test.each<[string, Dataset]>([
    ['request-stream', 'hundred.bin'],
    ['request-sync', 'five.bin'],
  ])(
    'a connector that is killed in the middle never leaves a file that looks whole to curl (%s)',
    async (way, name) => {
      await using gate = await SlowLine.to(defaults);
      await using victim = await startConnectorProcess(gate.url, OTHER, dataDir);
      // A buffered answer begins when all is there.
      const isBuffered = way === 'request-sync';
      if (isBuffered) gate.hold();
      const curl = spawn('curl', curlArgs(way, OTHER, name), { stdio: ['ignore', 'pipe', 'ignore'] });
      let received = 0;
      curl.stdout.on('data', (piece: Buffer) => {
        received += piece.length;
        if (received > MB) gate.hold();
      });
      const exited = once(curl, 'close');
      await gate.stalled;
      await victim.end('SIGKILL');
      const [code] = (await exited) as [number];
      expect(code).not.toBe(0);
      expect(received).toBeLessThan(DATASETS[name]);
      if (!isBuffered) expect(received).toBeGreaterThan(MB);
    },
    60_000,
  );

  test('what has no length beforehand is refused, since it would go over HTTP/1.0', async () => {
    await using node = await PlainConnector.connect(direct, { mac: OTHER });
    const { answer } = ask(defaults, '/datasets/request-stream', { mac: OTHER, dataset: 'a.csv' });
    const { request_id } = await node.next();
    expect(await node.post('/datasets/stream/init', { request_id })).toMatchObject({ status: 505 });
    expect((await answer).json()).toMatchObject({ status: 505, code: 'http_version_not_supported' });
  });

  test('nothing is left behind', async () => {
    expect((await readdir(outDir)).filter((name) => name.startsWith('.'))).toEqual([]);
  });
});

describe('behind an nginx that ends silence soon', () => {
  test('a link stays, and an app that does not read for longer gets the rest later', async () => {
    await using patient = await startConnectorProcess(impatient, OTHER, dataDir);
    const { response, answer } = ask(impatient, '/datasets/request-stream', { mac: OTHER, dataset: 'hundred.bin' });
    const reading = await response;
    reading.pause();
    const cutOff = (): Promise<boolean> =>
      nginx.readAccessLog().then((lines) => lines.some((line) => /chunk (?:504|408)$/.test(line)));
    while (!(await cutOff())) await nextTurn();
    reading.resume();
    const got = await answer;
    expect(got.error).toBeUndefined();
    expect(sha256(got.bytes)).toBe(digests.get('hundred.bin'));
    expect(patient.log.filter(({ msg }) => /lost/.test(msg ?? ''))).toEqual([]);
  }, 60_000);

  test('request-sync of what takes longer says who gave up and what to use, and is not asked for again', async () => {
    await using node = await PlainConnector.connect(direct, { mac: OTHER, capabilities: 'cancel' });
    const asking = runRelay(['app', 'request-sync', '--router', impatient, '-o', join(outDir, 'late'), OTHER, 'a.csv']);
    const { request_id } = await node.next();
    const { code, stderr } = await asking;
    expect(code).toBe(5);
    expect(stderr).toContain('a gateway in between gave up waiting for the router (HTTP 504)');
    expect(stderr).toContain(`relay app request-stream ${OTHER} a.csv`);
    expect(stderr).not.toMatch(/Is the router running|trying again/);
    expect((await nginx.readAccessLog()).filter((line) => line.endsWith('request-sync 504'))).toHaveLength(1);
    // Nobody reads it any more.
    expect(await node.next()).toEqual({ command: 'cancel', request_id });
    expect(await readdir(outDir)).not.toContain('late');
  }, 30_000);

  test('an asynchronous request outlasts it, by polls that are shorter', async () => {
    await using node = await PlainConnector.connect(direct, { mac: OTHER });
    const asked = ask(
      impatient,
      '/datasets/request-offload',
      { mac: OTHER, dataset: 'a.csv' },
      { Prefer: 'respond-async' },
    );
    const { request_id } = (await asked.answer).json() as { request_id: string };
    const { upload } = (await node.next()) as unknown as { upload: { url: string; download_url: string } };
    expect((await call(impatient, 'GET', `/requests/${request_id}?wait=20`)).status).toBe(504);
    for (let poll = 0; poll < 3; poll++) {
      const status = await call(impatient, 'GET', `/requests/${request_id}?wait=1`);
      expect(status.json()).toMatchObject({ state: 'running' });
    }
    await fetch(upload.url, { method: 'PUT', body: 'abc' });
    await node.post('/datasets/result', { request_id, download_url: upload.download_url });
    const done = await call(impatient, 'GET', `/requests/${request_id}?wait=1`);
    expect(done.json()).toMatchObject({ state: 'done', total_size: 3 });
    expect(await (await fetch(String(done.json()['download_url']))).text()).toBe('abc');
  }, 30_000);
});

/** What makes curl POST a request, and fail at an error. */
const curlArgs = (way: string, mac: string, dataset: string, ...more: string[]): string[] => [
  '-sSf',
  '--no-buffer',
  '-HAccept: application/octet-stream',
  '-HContent-Type: application/json',
  '-d',
  JSON.stringify({ mac, dataset }),
  ...more,
  `${defaults}/datasets/${way}`,
];

const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');

/** A look at a file now and then. */
const nextTurn = (): Promise<void> =>
  new Promise((resolve) => {
    setTimeout(resolve, 50);
  });
