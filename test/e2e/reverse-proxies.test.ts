import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Certificates, makeCertificates } from '../support/authority.ts';
import { RoleProcess, run, runRelay, type RunResult, startRouterProcess } from '../support/processes.ts';
import { findFreePort } from '../support/nginx.ts';
import { PlainConnector } from '../support/plain-connector.ts';
import { REVERSE_PROXIES, startReverseProxy } from '../support/reverse-proxies.ts';
import { makeTempDir } from '../support/router.ts';
import { SlowLine } from '../support/slow-line.ts';

const NODES = { websocket: 'cc-28-aa-01-02-03', sse: 'cc-28-aa-01-02-04' } as const;
const OTHER = 'cc-28-aa-01-02-05';
const LARGE_BYTES = 30_000_000;
const LINKS = ['websocket', 'sse'] as const;
const PATTERNS = ['request-sync', 'request-stream', 'request-offload'] as const;
const TRUSTING = ['--insecure-no-auth', '--trusted-proxy', '127.0.0.1', '--reconnect-wait', '0s'];
/** More than the 1 MiB that nginx takes at its defaults. */
const bytes = randomBytes(5_000_001);
const digest = createHash('sha256').update(bytes).digest('hex');

const resources = new AsyncDisposableStack();
let certificates: Certificates;
let dataDir = '';

beforeAll(async () => {
  dataDir = resources.use(await makeTempDir()).path;
  await writeFile(join(dataDir, 'reading.bin'), bytes);
  await writeFile(join(dataDir, 'large.bin'), randomBytes(LARGE_BYTES));
  certificates = await makeCertificates(resources.use(await makeTempDir()).path, 'IP:127.0.0.1');
}, 60_000);

afterAll(() => resources.disposeAsync());

async function startConnector(router: string, link: string, mac: string): Promise<RoleProcess> {
  const args = ['--router', router, '--mac', mac, '--data-dir', dataDir, '--ca', certificates.ca, '--transport', link];
  const connector = new RoleProcess(['connector', ...args], { cwd: dataDir });
  expect(await connector.logged(({ msg }) => msg === 'connected to router')).toMatchObject({ link });
  return connector;
}

const app = (command: string, url: string, ...args: string[]): Promise<RunResult> =>
  runRelay(['app', command, '--router', url, '--ca', certificates.ca, '--retry', '0', ...args], { cwd: dataDir });

async function expectBytes(pattern: string, url: string, mac: string): Promise<void> {
  const { code, stderr, stdout } = await app(pattern, url, mac, 'reading.bin');
  const sha256 = createHash('sha256').update(stdout).digest('hex');
  expect({ code, stderr, sha256 }).toEqual({ code: 0, stderr: '', sha256: digest });
}

describe.each(REVERSE_PROXIES)('behind %s as deploy/ sets it', (name) => {
  const own = new AsyncDisposableStack();
  let url = '';
  let router: Awaited<ReturnType<typeof startRouterProcess>>;

  beforeAll(async () => {
    router = own.use(await startRouterProcess([...TRUSTING, '--resume-wait', '1s']));
    ({ url } = own.use(await startReverseProxy(name, { router: router.url, certificates })));
    for (const link of LINKS) own.use(await startConnector(url, link, NODES[link]));
  }, 60_000);

  afterAll(() => own.disposeAsync());

  test.each(LINKS.flatMap((link) => PATTERNS.map((pattern) => ({ link, pattern }))))(
    '$pattern over $link',
    ({ link, pattern }) => expectBytes(pattern, url, NODES[link]),
  );

  test('hands out URLs as clients wrote them', async () => {
    const { stdout } = await app('request-offload', url, '--url', NODES.sse, 'reading.bin');
    expect(stdout.toString()).toMatch(new RegExp(`^${url}/store/`));
  });

  test('knows who clients are, and takes none at its word', async () => {
    const lies = [
      'X-Forwarded-For: 1.2.3.4',
      'X-Forwarded-Host: evil.test',
      'X-Forwarded-Proto: http',
      'X-Forwarded-Prefix: /evil',
      'Forwarded: for=1.2.3.4;host=evil.test',
    ].flatMap((line) => ['-H', line]);
    const body = JSON.stringify({ mac: NODES.websocket, dataset: 'reading.bin' });
    const { stdout } = await curl(...lies, '--json', body, `${url}/datasets/request-offload`);
    const { download_url } = JSON.parse(stdout.toString()) as { download_url: string };
    expect(download_url).toMatch(new RegExp(`^${url}/store/`));
    const from = ['--interface', '127.0.0.2', '--max-time', '2'];
    const linked = curl(...lies, ...from, `${url}/connectors/${OTHER}/events`);
    const { remote } = await router.logged(({ mac }) => mac === OTHER);
    expect(remote).toMatch(/^127\.0\.0\.2 by 127\.0\.0\.1:\d+$/);
    await linked;
  });

  test.each(LINKS)(
    'a body never looks whole when its connector is killed, to curl and app, over %s',
    async (link) => {
      const target = join(dataDir, '.target');
      const programs = [
        () => download(OTHER, 'large.bin'),
        // It asks for a digest, which comes in a trailer, and so for a body without a length.
        () => app('request-stream', url, '--timeout', '10s', '-o', target, OTHER, 'large.bin'),
      ];
      for (const start of programs) {
        await using line = await SlowLine.to(url);
        await using connector = await startConnector(line.url.replace('http:', 'https:'), link, OTHER);
        line.hold();
        const downloading = start();
        await line.stalled;
        await connector.end('SIGKILL');
        line.cut();
        const { code, stdout } = await downloading;
        expect(stdout.length).toBeLessThan(LARGE_BYTES);
        expect(code).not.toBe(0);
        expect(existsSync(target)).toBe(false);
      }
    },
    120_000,
  );

  test.each(['--http1.1', '--http2'])(
    'a body of unknown length never looks whole when it fails, but behind a Caddy before 2.8, by curl %s',
    async (http) => {
      await using node = await PlainConnector.connect(router.url, { mac: OTHER });
      const downloading = download(OTHER, 'a.csv', http);
      const { request_id } = await node.next();
      await node.post('/datasets/stream/init', { request_id });
      await node.post('/datasets/stream/chunk', { request_id, data: 'a,b\n1,2\n' });
      await node.post('/datasets/result', { request_id, error: { code: 'dataset_changed', message: 'it changed' } });
      const { code, stdout } = await downloading;
      expect(['', 'a,b\n1,2\n']).toContain(stdout.toString());
      if (await isOldCaddy(name)) expect(code).toBe(0);
      else expect(code).not.toBe(0);
    },
  );

  test('an app that goes away takes its request with it', async () => {
    await using node = await PlainConnector.connect(router.url, { mac: OTHER, capabilities: 'cancel' });
    const client = spawn('curl', [
      '-sk',
      '--json',
      `{"mac":"${OTHER}","dataset":"a.csv"}`,
      `${url}/datasets/request-stream`,
    ]);
    const { request_id } = await node.next();
    client.kill('SIGKILL');
    expect(await node.next()).toEqual({ command: 'cancel', request_id });
  });

  const download = (mac: string, dataset: string, ...args: string[]): Promise<RunResult> =>
    curl(...args, '--json', JSON.stringify({ mac, dataset }), `${url}/datasets/request-stream`);
});

type Changes = readonly (readonly [from: string, to: string])[];

const LOCATION = ['location / {', 'location /relay/ {'] as const;
const HAPROXY_PREFIX = 'http-request del-header X-Forwarded-Prefix';

/** How Caddy's file puts what follows into a block for the path. */
const handle = (directive: string): Changes => [
  ['\treverse_proxy ', `\t${directive} /relay/* {\n\treverse_proxy `],
  ['\t\t\tcompression off\n\t\t}\n\t}\n', '\t\t\tcompression off\n\t\t}\n\t}\n\t}\n'],
];

/** What the files say of a path, without the header that tells the router of it. */
const PATHS = {
  nginx: { left: [LOCATION], 'taken away': [LOCATION, ['proxy_pass http://relay;', 'proxy_pass http://relay/;']] },
  caddy: { left: handle('handle'), 'taken away': handle('handle_path') },
  haproxy: {
    left: [],
    'taken away': [[HAPROXY_PREFIX, `http-request replace-path /relay(/.*) \\1\n    ${HAPROXY_PREFIX}`]],
  },
} as const satisfies Record<string, Record<string, Changes>>;

/** The header that tells it. */
const PREFIXES = {
  nginx: ['X-Forwarded-Prefix ""', 'X-Forwarded-Prefix "/relay"'],
  caddy: ['header_up -X-Forwarded-Prefix', 'header_up X-Forwarded-Prefix "/relay"'],
  haproxy: [HAPROXY_PREFIX, 'http-request set-header X-Forwarded-Prefix /relay'],
} as const;

describe.each([
  ['nginx', 'left', LINKS],
  ['nginx', 'taken away', LINKS],
  ['caddy', 'left', ['websocket']],
  ['caddy', 'taken away', ['sse']],
  ['haproxy', 'left', ['sse']],
  ['haproxy', 'taken away', ['websocket']],
] as const)('below a path that %s has %s', (name, how, links) => {
  const changes: Changes = PATHS[name][how];

  test.each(links)('all patterns over %s, where a header tells the path', async (link) => {
    await using router = await startRouterProcess(TRUSTING);
    const all = [...changes, PREFIXES[name]];
    await using proxy = await startReverseProxy(name, { router: router.url, certificates, changes: all });
    await expectAllBelow(`${proxy.url}/relay`, link);
  });

  test.each(links)('all patterns over %s, where --public-url tells the path', async (link) => {
    const port = await findFreePort();
    const base = `https://127.0.0.1:${port}/relay`;
    await using router = await startRouterProcess(['--insecure-no-auth', '--public-url', `${base}/`]);
    await using _proxy = await startReverseProxy(name, { router: router.url, certificates, port, changes });
    await expectAllBelow(base, link);
  });
});

async function expectAllBelow(base: string, link: string): Promise<void> {
  // With a slash at its end or without.
  await using _connector = await startConnector(`${base}/`, link, OTHER);
  for (const pattern of PATTERNS) await expectBytes(pattern, base, OTHER);
  const { stdout } = await app('request-offload', base, '--url', OTHER, 'reading.bin');
  expect(stdout.toString()).toMatch(new RegExp(`^${base}/store/`));
}

/** Caddy before 2.8 ends a body of unknown length as if it were whole, and no setting changes it. */
async function isOldCaddy(name: string): Promise<boolean> {
  if (name !== 'caddy') return false;
  const { stdout } = await run('caddy', ['version']);
  const [, major = '', minor = ''] = /(\d+)\.(\d+)/.exec(stdout.toString()) ?? [];
  return Number(major) === 2 && Number(minor) < 8;
}

const curl = (...args: string[]): Promise<RunResult> =>
  run('curl', ['--silent', '--show-error', '--fail', '--max-time', '50', '--cacert', certificates.ca, ...args]);
