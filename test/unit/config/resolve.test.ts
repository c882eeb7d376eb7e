import { describe, expect, test } from '@jest/globals';
import { type Flags, resolveConfig, type Surroundings } from '../../../src/config/resolve.ts';
import { Workspace } from './workspace.ts';

function surroundings(more: Partial<Surroundings> = {}): Surroundings {
  return { env: {}, cwd: '/nowhere', home: '/home/ada', uid: 1000, ...more };
}

const CONNECTOR: Flags = { router: 'https://relay.example/base', mac: 'CC:28:AA:01:02:03', 'data-dir': 'data' };

describe('what a value comes from', () => {
  test('flags win over the environment, that over the file, that over the default', () => {
    using work = new Workspace();
    const file = work.write('.env', 'RELAY_PORT=3\nRELAY_STORE_KEEP=3h\nRELAY_URL_TTL=3h\n');
    const env = { RELAY_PORT: '2', RELAY_STORE_KEEP: '2h' };
    const { values, sources } = resolveConfig(
      'router',
      { port: '1' },
      surroundings({ env, cwd: work.path, uid: undefined }),
    );
    expect(values).toMatchObject({ port: 1, storeKeepMs: 7_200_000, urlTtlMs: 10_800_000, graceMs: 25_000 });
    expect(sources).toMatchObject({
      port: { from: 'flag' },
      storeKeepMs: { from: 'environment', variable: 'RELAY_STORE_KEEP' },
      urlTtlMs: { from: 'file', variable: 'RELAY_URL_TTL', file },
      graceMs: { from: 'default' },
    });
  });

  test('an empty variable is none, and does not hide the file', () => {
    using work = new Workspace();
    work.write('mine.env', 'RELAY_PORT=3\n');
    const { values } = resolveConfig(
      'router',
      { 'env-file': 'mine.env' },
      surroundings({ env: { RELAY_PORT: '' }, cwd: work.path, uid: undefined }),
    );
    expect(values.port).toBe(3);
  });

  test('the S3 settings of the AWS SDK count after those of relay', () => {
    const env = { AWS_ENDPOINT_URL: 'http://a.example', AWS_ENDPOINT_URL_S3: 'http://b.example', AWS_REGION: 'r' };
    const { values } = resolveConfig('router', {}, surroundings({ env }));
    expect(values.s3Endpoint?.href).toBe('http://b.example/');
    expect(values.s3Region).toBe('r');
    const mine = resolveConfig('router', {}, surroundings({ env: { ...env, RELAY_S3_ENDPOINT: 'http://c.example' } }));
    expect(mine.values.s3Endpoint?.href).toBe('http://c.example/');
  });

  test('AWS_* of the file reach the environment for the SDK, where that has none', () => {
    using work = new Workspace();
    work.write('.env', 'AWS_ACCESS_KEY_ID=file\nAWS_SECRET_ACCESS_KEY=file\nRELAY_PORT=1\n');
    const env: Record<string, string | undefined> = { AWS_ACCESS_KEY_ID: 'environment' };
    resolveConfig('router', {}, surroundings({ env, cwd: work.path, uid: undefined }));
    expect(env).toEqual({ AWS_ACCESS_KEY_ID: 'environment', AWS_SECRET_ACCESS_KEY: 'file' });
  });

  test('warns of a name in the file that nobody knows', () => {
    using work = new Workspace();
    work.write('.env', 'RELAY_PROT=1\n');
    const { warnings } = resolveConfig('router', {}, surroundings({ cwd: work.path, uid: undefined }));
    expect(warnings).toEqual([expect.stringMatching(/RELAY_PROT .*is RELAY_PORT meant\?/)]);
  });
});

describe('the router', () => {
  test.each([
    [{ uid: 1000 }, '/home/ada/.local/state/relay'],
    [{ uid: 0 }, '/var/lib/relay'],
    [{ uid: 0, env: { XDG_STATE_HOME: '/state' } }, '/state/relay'],
  ])('keeps its state where %j says', (where, stateDir) => {
    const { values } = resolveConfig('router', {}, surroundings(where));
    expect(values).toMatchObject({ stateDir, store: `file:${stateDir}/store` });
  });

  test('without further words stays on loopback', () => {
    for (const host of ['127.0.0.1', '127.9.9.9', 'localhost', '::1', '[::1]']) {
      expect(resolveConfig('router', { host }, surroundings()).values.host).toBe(host);
    }
    for (const host of ['0.0.0.0', '::', '10.0.0.1', 'relay.example', '127.0.0.1.example']) {
      expect(() => resolveConfig('router', { host }, surroundings())).toThrow(/beyond loopback.*--insecure-no-auth/);
      expect(resolveConfig('router', { host, 'insecure-no-auth': true }, surroundings()).values.host).toBe(host);
    }
  });

  test('lets pages ask of the origins that are named, and of all only where it asks for tokens', () => {
    const origins = (flags: Flags): readonly string[] =>
      resolveConfig('router', flags, surroundings()).values.corsOrigin;
    expect(origins({})).toEqual([]);
    expect(origins({ 'cors-origin': ['https://A.example:443/', 'http://localhost:3000'] })).toEqual([
      'https://a.example',
      'http://localhost:3000',
    ]);
    expect(origins({ 'cors-origin': '*', 'secret-file': 'secret' })).toEqual(['*']);
  });

  test.each<[Flags, RegExp]>([
    [{ 'tls-cert': 'c.pem' }, /--tls-cert needs --tls-key/],
    [{ 'tls-key': 'k.pem' }, /--tls-key needs --tls-cert/],
    [{ 'heartbeat-interval': '10s', 'heartbeat-timeout': '10s' }, /--heartbeat-timeout must be more/],
    [{ 'buffer-max': '1GiB' }, /--buffer-max is more than --buffer-total/],
    [{ 'cors-origin': '*' }, /--cors-origin \* .*RELAY_SECRET/],
    [{ 'cors-origin': '*', 'insecure-no-auth': true }, /--cors-origin \* .*RELAY_SECRET/],
    [{ 'cors-origin': 'null' }, /--cors-origin: "null"/],
    [{ 'cors-origin': 'https://a.example/b' }, /is not an origin/],
    [{ 'offload-origin': '*' }, /--offload-origin: "\*"/],
    [{ 'drain-delay': '30s' }, /--drain-delay is more than --grace/],
  ])('refuses %j', (flags, why) => {
    expect(() => resolveConfig('router', flags, surroundings())).toThrow(why);
  });
});

describe('the connector', () => {
  test('has typed values under their own names', () => {
    const flags = { ...CONNECTOR, label: ['site=oslo', 'line=3'], hidden: true, 'give-up-after': '1h' };
    const { values } = resolveConfig('connector', flags, surroundings());
    expect(values).toMatchObject({
      router: new URL('https://relay.example/base'),
      mac: 'cc-28-aa-01-02-03',
      dataDir: '/nowhere/data',
      label: { site: 'oslo', line: '3' },
      hidden: true,
      transport: 'auto',
      giveUpAfterMs: 3_600_000,
      reconnectMinMs: 500,
    });
    expect(values).not.toHaveProperty('name');
  });

  test.each(['router', 'mac', 'data-dir'])('cannot do without --%s', (name) => {
    const { [name]: _, ...rest } = CONNECTOR;
    expect(() => resolveConfig('connector', rest, surroundings())).toThrow(new RegExp(`--${name} is missing`));
  });

  test('takes what is required from the environment as well', () => {
    const { mac: _, ...rest } = CONNECTOR;
    const { values } = resolveConfig('connector', rest, surroundings({ env: { RELAY_MAC: 'cc28aa010203' } }));
    expect(values.mac).toBe('cc-28-aa-01-02-03');
  });

  test('takes several from one variable, and flags in place of all of them', () => {
    const env = { RELAY_LABEL: 'a=1, b=2', RELAY_GIVE_UP_AFTER: '1h' };
    expect(resolveConfig('connector', CONNECTOR, surroundings({ env })).values.label).toEqual({ a: '1', b: '2' });
    const flags = { ...CONNECTOR, label: 'c=3', 'give-up-after': 'off' };
    const { values } = resolveConfig('connector', flags, surroundings({ env }));
    expect(values.label).toEqual({ c: '3' });
    expect(values).not.toHaveProperty('giveUpAfterMs');
  });

  test('refuses a shortest pause above the longest', () => {
    const flags = { ...CONNECTOR, 'reconnect-min': '1m', 'reconnect-max': '1s' };
    expect(() => resolveConfig('connector', flags, surroundings())).toThrow(/--reconnect-min/);
  });
});

test('the app asks the router of this machine unless told otherwise', () => {
  expect(resolveConfig('app', {}, surroundings()).values.router.href).toBe('http://127.0.0.1:8080/');
});
