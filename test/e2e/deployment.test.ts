import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { createHash, randomBytes } from 'node:crypto';
import { cp, mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import { delimiter, dirname, join, relative } from 'node:path';
import { readDocCommands, readDocScript } from '../support/doc-commands.ts';
import { bootMachine, type Machine } from '../support/machine.ts';
import { makePlantNetwork, type PlantNetwork } from '../support/plant-network.ts';
import { run, type RunResult } from '../support/processes.ts';
import { makeTempDir } from '../support/router.ts';
import { startTinyproxy, type Tinyproxy } from '../support/tinyproxy.ts';

const ROOT = join(import.meta.dirname, '../..');
const DOC = join(ROOT, 'docs/deployment.md');
/** What is made, and what is fetched: not a part of the checkout. */
const MADE = /^(\.git|node_modules|dist|dist-bin|data)$|\.tgz$/;
const ROUTER = 'relay.example.com';
const PROXY = 'proxy.plant.example';

/** The names that the document gives to the commands that are run here. */
const INSTALLING = ['one file', 'another platform', 'npm', 'secrets of compose', 'descriptors'];
const ON_THE_SERVER = ['the router', 'a certificate', 'nginx', 'tokens'].map((name) => `on the server, ${name}`);
const IN_TEN_MINUTES = ['make relay', ...ON_THE_SERVER, 'on the node', 'on the node, the log', 'anywhere'];

const resources = new AsyncDisposableStack();
let checkout = '';

/** Runs a script of the document where its reader would: in a checkout, with the Node.js that relay asks for. */
function sh(script: string, env: NodeJS.ProcessEnv = {}): Promise<RunResult> {
  const PATH = `${dirname(process.execPath)}${delimiter}${process.env['PATH']}`;
  return run('sh', ['-euc', script], { cwd: checkout, env: { ...process.env, PATH, ...env } });
}

/** What commands that have to succeed wrote. */
function expectDone({ code, stdout, stderr }: RunResult): string {
  if (code !== 0) throw new Error(`the commands ended with ${code}:\n${stdout.toString()}\n${stderr}`);
  return stdout.toString();
}

beforeAll(async () => {
  checkout = join(resources.use(await makeTempDir()).path, 'relay');
  await cp(ROOT, checkout, { recursive: true, filter: (path) => !MADE.test(relative(ROOT, path)) });
  const made = await sh(await readDocScript(DOC, 'make relay'));
  if (made.code !== 0) throw new Error(`relay could not be made:\n${made.stderr}`);
}, 600_000);

afterAll(() => resources.disposeAsync());

test('every command is run by a test, but for those that need what a test cannot bring', async () => {
  const commands = await readDocCommands(DOC);
  const tested = commands.filter(({ isRun }) => isRun).map(({ name }) => name);
  expect(new Set(tested)).toEqual(new Set([...INSTALLING, ...IN_TEN_MINUTES]));
  const left = commands.filter(({ isRun }) => !isRun);
  // Docker needs an engine that has the right to run containers, Kubernetes a cluster.
  expect(left.map(({ name, script }) => [name, script.split(/[ \n]/)[0]])).toEqual([
    ['docker', 'docker'],
    ['docker', 'docker'],
    ['docker', 'docker'],
    ['docker', 'export'],
    ['kubernetes', 'kubectl'],
    ['kubernetes', 'kubectl'],
  ]);
});

describe('installing', () => {
  let version = '';
  beforeAll(async () => {
    ({ version } = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8')) as { version: string });
  });

  test('as one file', async () => {
    await using bin = await makeTempDir();
    const script = await readDocScript(DOC, 'one file', { '/usr/local/bin': bin.path });
    const said = expectDone(await sh(script, { PATH: `${bin.path}:${process.env['PATH']}` }));
    expect(said.trimEnd().split('\n').at(-1)).toBe(version);
  }, 300_000);

  test('as one file for another platform', async () => {
    const script = await readDocScript(DOC, 'another platform', { 'path/to/node.exe': process.execPath });
    expectDone(await sh(script));
    const other = await run(join(checkout, 'dist-bin/relay.exe'), ['--version']);
    expect(expectDone(other)).toBe(`${version}\n`);
  }, 120_000);

  test('with npm', async () => {
    await using prefix = await makeTempDir();
    const PATH = [join(prefix.path, 'bin'), dirname(process.execPath), process.env['PATH']].join(delimiter);
    const said = expectDone(await sh(await readDocScript(DOC, 'npm'), { PATH, npm_config_prefix: prefix.path }));
    expect(said.trimEnd().split('\n').at(-1)).toBe(version);
  }, 300_000);

  test('the secrets of docker compose, which nobody else can read', async () => {
    expectDone(await sh(await readDocScript(DOC, 'secrets of compose')));
    const secrets = join(checkout, 'deploy/secrets');
    expect((await stat(secrets)).mode & 0o777).toBe(0o700);
    const password = await readFile(join(secrets, 'minio_password'), 'utf8');
    expect(await readFile(join(secrets, 'aws_credentials'), 'utf8')).toContain(`aws_secret_access_key = ${password}\n`);
    expect(await readFile(join(secrets, 'relay_secret'), 'utf8')).toMatch(/^[0-9a-f]{64}\n$/);
  });

  test('looking at the limit of descriptors', async () => {
    expect(expectDone(await sh(await readDocScript(DOC, 'descriptors')))).toMatch(/^(\d+|unlimited)\n$/);
  });
});

// Only root may make machines and networks.
(process.getuid?.() === 0 ? describe : describe.skip)('in ten minutes', () => {
  const bytes = randomBytes(3_000_001);
  const digest = (content: Buffer): string => createHash('sha256').update(content).digest('hex');
  let network: PlantNetwork;
  let proxy: Tinyproxy;
  let server: Machine;
  let node: Machine;
  let desk = '';
  const work: Record<'server' | 'node', string> = { server: '', node: '' };

  beforeAll(async () => {
    const place = resources.use(await makeTempDir()).path;
    network = resources.use(await makePlantNetwork());
    const { routerAddress, proxyAddress, names } = network;
    desk = join(place, 'desk');
    await mkdir(desk);
    const hosts = { outside: join(place, 'hosts'), plant: join(place, 'plant-hosts') };
    await writeFile(hosts.outside, `127.0.0.1 localhost\n${routerAddress} ${ROUTER}\n`);
    // As in many plants, names of the outside are known to the proxy alone.
    await writeFile(hosts.plant, `127.0.0.1 localhost\n${proxyAddress} ${PROXY}\n`);
    const launcher = [...network.outside, ...withHosts(hosts.outside)];
    const access = { address: proxyAddress, port: 3128, user: 'plant', password: 'secret', connectPorts: [443] };
    proxy = resources.use(await startTinyproxy({ ...access, launcher }));
    for (const role of ['server', 'node'] as const) {
      work[role] = join(place, role);
      await mkdir(work[role]);
      await cp(join(checkout, 'dist-bin/relay'), join(work[role], 'relay'));
      await cp(join(checkout, 'deploy'), join(work[role], 'deploy'), { recursive: true });
    }
    await cp(join(checkout, 'dist-bin/relay'), join(desk, 'relay'));
    server = resources.use(
      await bootMachine({ name: 'server', network: names.outside, hosts: hosts.outside, work: work.server }),
    );
    node = resources.use(
      await bootMachine({ name: 'node', network: names.plant, hosts: hosts.plant, work: work.node }),
    );
    await mkdir(join(work.node, 'data'));
    await writeFile(join(work.node, 'data/measurements.csv'), bytes);
    expectDone(await node.sh('mkdir -p /srv/data && cp data/measurements.csv /srv/data/'));
  }, 120_000);

  const read = (name: string): Promise<string> => readDocScript(DOC, name);

  test('a dataset comes out of a plant whose only way out is a proxy', async () => {
    for (const name of ON_THE_SERVER) expectDone(await server.sh(await read(name)));
    expect((await stat(join(work.server, 'plant-1.token'))).mode & 0o777).toBe(0o600);
    await cp(join(work.server, 'plant-1.token'), join(work.node, 'plant-1.token'));
    await cp(join(work.server, 'analyst.token'), join(desk, 'analyst.token'));
    const certificate = await server.sh('cat /etc/ssl/relay/fullchain.pem');
    for (const place of [work.node, desk]) await writeFile(join(place, 'fullchain.pem'), expectDone(certificate));

    expectDone(await node.sh(await read('on the node')));
    // A reader takes a moment before the next step; the journal says when it is there.
    expectDone(
      await node.sh("journalctl --unit relay-connector --follow --lines all | grep --quiet -m 1 'connected to router'"),
    );
    expect(expectDone(await node.sh(await read('on the node, the log')))).toContain('"msg":"connected to router"');

    const fetched = await atDesk(await read('anywhere'));
    expect(expectDone(fetched)).toMatch(/cc-28-aa-01-02-03 +online[^]*measurements\.csv/);
    for (const file of ['measurements.csv', 'offloaded.csv']) {
      expect([file, digest(await readFile(join(desk, file)))]).toEqual([file, digest(bytes)]);
    }
    expect(new Set(proxy.requests.map((line) => line.replace(/ HTTP\/.*/, '')))).toEqual(
      new Set([`CONNECT ${ROUTER}:443`]),
    );
  }, 120_000);

  test('the password of the proxy and the tokens are for root and relay alone', async () => {
    const said = expectDone(
      await node.sh("stat --format '%n %a %U %G' /etc/relay /etc/relay/token /etc/relay/connector.env"),
    );
    expect(said).toBe(
      '/etc/relay 750 root relay\n/etc/relay/token 640 root relay\n/etc/relay/connector.env 600 root root\n',
    );
    expect(expectDone(await server.sh("stat --format '%a %U %G' /etc/relay/secret"))).toBe('640 root relay\n');
  });

  test('a router that systemd starts anew, and one that was killed, serve on', async () => {
    for (const how of ['restart', 'kill --signal SIGKILL']) {
      expectDone(await server.sh(`systemctl ${how} relay-router`));
      const again = `./relay app request-stream cc-28-aa-01-02-03 measurements.csv -o again.csv --retry 10`;
      const options = `RELAY_ROUTER=https://${ROUTER} RELAY_TOKEN_FILE=analyst.token RELAY_CA=fullchain.pem`;
      expectDone(await atDesk(`rm -f again.csv; ${options} ${again}`));
      expect(digest(await readFile(join(desk, 'again.csv')))).toBe(digest(bytes));
    }
    expect(expectDone(await server.sh('systemctl show relay-router --property NRestarts'))).toBe('NRestarts=1\n');
  }, 120_000);

  test('a connector that is stopped by systemd drains and is gone', async () => {
    expectDone(await node.sh('systemctl stop relay-connector'));
    const said = expectDone(await node.sh('journalctl --unit relay-connector --output cat --lines 20'));
    expect(said).toContain('SIGTERM: finishing what is under way');
    expect(expectDone(await node.sh('systemctl show relay-connector --property Result'))).toBe('Result=success\n');
  });

  /** Runs a script outside, where the data is wanted. */
  function atDesk(script: string): Promise<RunResult> {
    const [program = '', ...words] = [...network.outside, ...withHosts(join(dirname(desk), 'hosts'))];
    return run(program, [...words, 'sh', '-euc', script], { cwd: desk, env: { PATH: process.env['PATH'] } });
  }
});

/** Words that run a program with another /etc/hosts. */
function withHosts(file: string): string[] {
  return ['unshare', '--mount', 'sh', '-c', 'mount --bind "$0" /etc/hosts && exec "$@"', file];
}
