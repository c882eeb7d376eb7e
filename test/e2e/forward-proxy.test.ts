import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { createHash, randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { makeCertificates } from '../support/authority.ts';
import { type Minio, startMinio } from '../support/minio.ts';
import { makePlantNetwork, type PlantNetwork } from '../support/plant-network.ts';
import { RoleProcess, runRelay, type RunResult } from '../support/processes.ts';
import { makeTempDir } from '../support/router.ts';
import { startTinyproxy, type Tinyproxy } from '../support/tinyproxy.ts';

const PROXY_PORT = 3128;
/** A proxy as many are: tunnels lead to the port of HTTPS only. */
const STRICT_PORT = 3129;
const USER = 'plant';
const PASSWORD = 'pa.ss-w0rd_1';
const NODES = { websocket: 'cc-28-aa-01-02-03', sse: 'cc-28-aa-01-02-04' } as const;
const LINKS = ['websocket', 'sse'] as const;
const PATTERNS = ['request-sync', 'request-stream', 'request-offload'] as const;

const resources = new AsyncDisposableStack();
const bytes = randomBytes(3_000_001);
const digest = createHash('sha256').update(bytes).digest('hex');
const routers = { http: '', https: '' };
let network: PlantNetwork;
let proxy: Tinyproxy;
let dataDir = '';
let ca = '';

/** The proxy as the environment names it. */
const urlOf = (password: string, port = PROXY_PORT): string =>
  `http://${USER}:${encodeURIComponent(password)}@${network.proxyAddress}:${port}`;
const environment = (password = PASSWORD): NodeJS.ProcessEnv => ({
  HTTPS_PROXY: urlOf(password),
  http_proxy: urlOf(password),
});

beforeAll(async () => {
  dataDir = resources.use(await makeTempDir()).path;
  const state = resources.use(await makeTempDir()).path;
  await writeFile(join(dataDir, 'reading.bin'), bytes);
  network = resources.use(await makePlantNetwork());
  const { proxyAddress: address, routerAddress, outside: launcher } = network;
  const credentials = { user: USER, password: PASSWORD, launcher, address };
  proxy = resources.use(await startTinyproxy({ ...credentials, port: PROXY_PORT }));
  resources.use(await startTinyproxy({ ...credentials, port: STRICT_PORT, connectPorts: [443] }));
  const certificates = await makeCertificates(state, `IP:${routerAddress}`);
  ({ ca } = certificates);
  for (const [scheme, args] of [
    ['http', []],
    ['https', ['--tls-cert', certificates.cert, '--tls-key', certificates.key]],
  ] as const) {
    const own = ['--host', routerAddress, '--port', '0', '--insecure-no-auth', '--state-dir', join(state, scheme)];
    const router = resources.use(new RoleProcess(['router', ...own, ...args], { cwd: state, through: launcher }));
    routers[scheme] = String((await router.logged(({ url }) => typeof url === 'string'))['url']);
  }
}, 60_000);

afterAll(() => resources.disposeAsync());

function startConnector(
  router: string,
  link: string,
  env: NodeJS.ProcessEnv,
  mac: string = NODES.websocket,
  through: readonly string[] = network.plant,
): RoleProcess {
  const args = ['--router', router, '--mac', mac, '--data-dir', dataDir, '--ca', ca, '--transport', link];
  return new RoleProcess(['connector', ...args], { cwd: dataDir, env, through });
}

function app(args: readonly string[], env: NodeJS.ProcessEnv): Promise<RunResult> {
  const [command = '', ...rest] = args;
  const options = ['--ca', ca, '--retry', '0', '--timeout', '60s'];
  return runRelay(['app', command, ...options, ...rest], { cwd: dataDir, env, through: network.plant });
}

describe.each(['http', 'https'] as const)('through a proxy with credentials to a router of %s', (scheme) => {
  const connectors = new AsyncDisposableStack();

  beforeAll(async () => {
    for (const link of LINKS) {
      const connector = connectors.use(startConnector(routers[scheme], link, environment(), NODES[link]));
      await connector.logged(({ msg }) => msg === 'connected to router');
    }
  }, 60_000);

  afterAll(() => connectors.disposeAsync());

  test.each(LINKS.flatMap((link) => PATTERNS.map((pattern) => ({ link, pattern }))))(
    '$pattern over $link, connector and app behind it',
    async ({ link, pattern }) => {
      const result = await app([pattern, '--router', routers[scheme], NODES[link], 'reading.bin'], environment());
      const sha256 = createHash('sha256').update(result.stdout).digest('hex');
      expect({ code: result.code, stderr: result.stderr, sha256 }).toEqual({ code: 0, stderr: '', sha256: digest });
    },
  );

  test('hands plain requests over whole, and tunnels what is encrypted and WebSockets', () => {
    const { host } = new URL(routers[scheme]);
    const mine = proxy.requests.filter((line) => line.includes(host));
    const methods = new Set(mine.map((line) => line.split(' ')[0]));
    expect(methods).toEqual(scheme === 'https' ? new Set(['CONNECT']) : new Set(['CONNECT', 'GET', 'POST', 'PUT']));
  });
});

test('there is no other way out of the plant', async () => {
  const { code, stderr } = await app(['connectors', '--router', routers.https], {});
  expect(code).toBe(8);
  expect(stderr).toContain(new URL(routers.https).host);
  const exempt = { ...environment(), NO_PROXY: `localhost ${new URL(routers.https).hostname}` };
  expect((await app(['connectors', '--router', routers.https], exempt)).code).toBe(8);
});

test('--proxy none and RELAY_PROXY win over the environment', async () => {
  expect((await app(['connectors', '--router', routers.http, '--proxy', 'none'], environment())).code).toBe(8);
  const wrong = { ...environment('wrong'), RELAY_PROXY: urlOf(PASSWORD) };
  expect((await app(['connectors', '--router', routers.http], wrong)).code).toBe(0);
});

test.each(['http', 'https'] as const)(
  'exit 6 where the proxy of %s does not take the password, which stays unsaid',
  async (scheme) => {
    const { code, stderr } = await app(['connectors', '--router', routers[scheme]], environment('wr0ng'));
    expect(code).toBe(6);
    expect(stderr).toContain(`http://${network.proxyAddress}:${PROXY_PORT}`);
    expect(stderr).not.toMatch(/wr0ng/);
    // A plain request's refusal may as well be the router's.
    if (scheme === 'https') expect(stderr).not.toMatch(/--token-file/);
    const env = { ...environment('wr0ng'), RELAY_LOG_LEVEL: 'debug' };
    await using connector = startConnector(routers[scheme], 'auto', env);
    const line = await connector.logged(({ msg }) => msg === 'not connected; trying again');
    expect(line).toMatchObject({
      reason: expect.stringContaining(`the proxy http://${network.proxyAddress}:${PROXY_PORT} asks for credentials`),
    });
    // It goes on, and not at the slowest pace.
    const next = await connector.logged(({ attempt }) => attempt === 3);
    expect(next['pauseMs']).toBeLessThan(30_000);
    expect(JSON.stringify(connector.log)).not.toMatch(/wr0ng/);
  },
);

test('exit 8 where the proxy is not there, naming it', async () => {
  const env = { HTTPS_PROXY: `http://user:s3cret@${network.proxyAddress}:9` };
  const { code, stderr } = await app(['connectors', '--router', routers.https], env);
  expect(code).toBe(8);
  expect(stderr).toContain(`the proxy http://${network.proxyAddress}:9 cannot be reached`);
  expect(stderr).not.toMatch(/s3cret/);
});

test('falls back to Server-Sent Events where the proxy opens no tunnel to a plain port, and websocket says why', async () => {
  const env = { RELAY_PROXY: urlOf(PASSWORD, STRICT_PORT) };
  await using connector = startConnector(routers.http, 'auto', env);
  expect(await connector.logged(({ msg }) => msg === 'connected to router')).toMatchObject({ link: 'sse' });
  await using strict = startConnector(routers.http, 'websocket', env);
  const line = await strict.logged((each) => JSON.stringify(each).includes('(HTTP 403)'));
  expect(JSON.stringify(line)).toContain(
    `the proxy http://${network.proxyAddress}:${STRICT_PORT} allows no connection to ${new URL(routers.http).host}`,
  );
});

test('exit 6 where the proxy opens no tunnel to a port of TLS', async () => {
  const { code, stderr } = await app(['connectors', '--router', routers.https], {
    RELAY_PROXY: urlOf(PASSWORD, STRICT_PORT),
  });
  expect(code).toBe(6);
  expect(stderr).toMatch(/allows no connection/);
});

describe('pattern C over an S3 store, on another origin than the router', () => {
  const PART_BYTES = 16 * 1024 * 1024;
  const large = randomBytes(2 * PART_BYTES + 12_345);
  const site = new AsyncDisposableStack();
  let minio: Minio;
  let router = '';
  /** What the proxy was asked for since. */
  let from = 0;

  const requestsOf = (url: string): string[] =>
    proxy.requests.slice(from).filter((line) => line.includes(new URL(url).host));
  /** Those that no app makes. */
  const ofConnector = (url: string): string[] => requestsOf(url).filter((line) => /^PUT |\/events/.test(line));
  const puts = (): string[] => requestsOf(minio.endpoint).filter((line) => line.startsWith('PUT '));

  beforeAll(async () => {
    await writeFile(join(dataDir, 'large.bin'), large);
    const { outside: launcher, routerAddress: address } = network;
    minio = site.use(await startMinio({ launcher, address }));
    const state = site.use(await makeTempDir()).path;
    const env = {
      AWS_ACCESS_KEY_ID: minio.accessKey,
      AWS_SECRET_ACCESS_KEY: minio.secretKey,
      AWS_ENDPOINT_URL_S3: minio.endpoint,
    };
    const args = [
      '--host',
      address,
      '--port',
      '0',
      '--insecure-no-auth',
      '--state-dir',
      state,
      '--store',
      's3://plant',
    ];
    const role = site.use(new RoleProcess(['router', ...args], { cwd: state, env, through: launcher }));
    router = String((await role.logged(({ url }) => typeof url === 'string'))['url']);
  }, 60_000);

  afterAll(() => site.disposeAsync());

  beforeEach(() => {
    from = proxy.requests.length;
  });

  /** Fetches the dataset anew, as the app in the plant. */
  async function fetchLarge(mac: string, env = environment()): Promise<RunResult & { readonly isRight: boolean }> {
    // Another time of change is another content, which has to be uploaded.
    await writeFile(join(dataDir, 'large.bin'), large);
    const result = await app(['request-offload', '--router', router, mac, 'large.bin'], env);
    return { ...result, isRight: result.stdout.equals(large) };
  }

  test.each(LINKS)(
    'in parts, connector and app behind the proxy, over %s',
    async (link) => {
      await using connector = startConnector(router, link, environment());
      expect(await connector.logged(({ msg }) => msg === 'connected to router')).toMatchObject({ link });
      const { code, stderr, isRight } = await fetchLarge(NODES.websocket);
      expect({ code, stderr, isRight }).toEqual({ code: 0, stderr: '', isRight: true });
      const parts = puts().map((line) => /[?&]partNumber=(\d+)&/.exec(line)?.[1]);
      expect(new Set(parts)).toEqual(new Set(['1', '2', '3']));
      const methods = (url: string): Set<string | undefined> =>
        new Set(requestsOf(url).map((line) => line.split(' ')[0]));
      expect(methods(minio.endpoint)).toEqual(new Set(['PUT', 'GET']));
      expect(methods(router)).toEqual(new Set(link === 'sse' ? ['GET', 'POST'] : ['CONNECT', 'GET', 'POST']));
    },
    60_000,
  );

  test.each([
    ['the router', () => router, () => minio.endpoint],
    ['the store', () => minio.endpoint, () => router],
  ])(
    'NO_PROXY takes %s out, and nothing else',
    async (_, exempt, other) => {
      // Outside, where the way without the proxy is there as well.
      const env = { ...environment(), NO_PROXY: new URL(exempt()).host };
      await using connector = startConnector(router, 'sse', env, NODES.websocket, network.outside);
      await connector.logged(({ msg }) => msg === 'connected to router');
      expect(await fetchLarge(NODES.websocket)).toMatchObject({ code: 0, isRight: true });
      expect(ofConnector(exempt())).toEqual([]);
      expect(ofConnector(other())).not.toEqual([]);
    },
    60_000,
  );

  test('a store that NO_PROXY exempts where no other way leads is an error that names it', async () => {
    const exempt = { ...environment(), NO_PROXY: new URL(minio.endpoint).host };
    await using connector = startConnector(router, 'sse', exempt);
    await connector.logged(({ msg }) => msg === 'connected to router');
    const { code, stderr, stdout } = await fetchLarge(NODES.websocket);
    expect({ code, stdout: stdout.length }).toEqual({ code: 8, stdout: 0 });
    expect(stderr).toContain('the store cannot be reached');
    expect(stderr).toContain(new URL(minio.endpoint).host);
    expect(puts()).toEqual([]);
  }, 60_000);

  test('a router that NO_PROXY exempts where no other way leads is named in the log', async () => {
    const exempt = { ...environment(), NO_PROXY: new URL(router).host };
    await using connector = startConnector(router, 'auto', exempt);
    const line = await connector.logged(({ msg }) => msg === 'not connected; trying again');
    expect(line).toMatchObject({
      reason: expect.stringMatching(`${new URL(router).host} .*no way to its network`),
    });
    expect(requestsOf(router)).toEqual([]);
  });
});
