import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { copyFile, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Certificates, makeCertificates } from '../support/authority.ts';
import { RoleProcess, run, runRelay, startConnectorProcess, startRouterProcess } from '../support/processes.ts';
import { makeTempDir } from '../support/router.ts';

const NODE = 'cc-28-aa-01-02-03';
const LINKS = ['websocket', 'sse'] as const;
const COMMANDS = ['request-sync', 'request-stream', 'request-offload'] as const;

const resources = new AsyncDisposableStack();
let dataDir = '';
/** Two routers whose certificates come from different authorities. */
const routers: { url: string; certificates: Certificates }[] = [];
/** What makes the first authority one of the system's. */
const systems: Record<'SSL_CERT_FILE' | 'SSL_CERT_DIR', string> = { SSL_CERT_FILE: '', SSL_CERT_DIR: '' };

beforeAll(async () => {
  dataDir = resources.use(await makeTempDir()).path;
  await writeFile(join(dataDir, 'a.csv'), 'a,b\n1,2\n');
  const { path } = resources.use(await makeTempDir());
  for (const prefix of ['system-', 'own-']) {
    const certificates = await makeCertificates(path, 'IP:127.0.0.1', prefix);
    const tls = ['--tls-cert', certificates.cert, '--tls-key', certificates.key];
    routers.push({ url: resources.use(await startRouterProcess(tls)).url, certificates });
  }
  const [{ certificates }] = routers as [(typeof routers)[0]];
  systems.SSL_CERT_FILE = certificates.ca;
  systems.SSL_CERT_DIR = join(path, 'certs');
  await mkdir(systems.SSL_CERT_DIR);
  // OpenSSL looks a certificate up by the hash of its subject.
  const { stdout } = await run('openssl', ['x509', '-hash', '-noout', '-in', certificates.ca]);
  await copyFile(certificates.ca, join(systems.SSL_CERT_DIR, `${stdout.toString().trim()}.0`));
}, 60_000);

afterAll(() => resources.disposeAsync());

const list = (url: string, env: NodeJS.ProcessEnv, args: readonly string[] = []) =>
  runRelay(['app', 'connectors', '--router', url, '--retry', '0', ...args], { env });

test.each(['SSL_CERT_FILE', 'SSL_CERT_DIR'] as const)(
  "the system's authorities are trusted, those of %s, over both links and in all patterns",
  async (variable) => {
    const [{ url }] = routers as [(typeof routers)[0]];
    const env = { [variable]: systems[variable] };
    for (const transport of LINKS) {
      const args = ['--router', url, '--mac', NODE, '--data-dir', dataDir, '--transport', transport];
      await using connector = new RoleProcess(['connector', ...args], { cwd: dataDir, env });
      await connector.logged(({ msg }) => msg === 'connected to router');
      for (const command of COMMANDS) {
        const result = await runRelay(['app', command, '--router', url, NODE, 'a.csv'], { cwd: dataDir, env });
        expect([command, result.code, result.stderr, result.stdout.toString()]).toEqual([command, 0, '', 'a,b\n1,2\n']);
      }
    }
  },
);

test('--ca adds to them, and whoever is in neither is not trusted', async () => {
  const [system, own] = routers as [(typeof routers)[0], (typeof routers)[0]];
  const env = { SSL_CERT_FILE: systems.SSL_CERT_FILE };
  const ca = ['--ca', own.certificates.ca];
  expect((await list(system.url, env, ca)).code).toBe(0);
  expect((await list(own.url, env, ca)).code).toBe(0);
  const { code, stderr } = await list(own.url, env);
  expect([code, stderr]).toEqual([8, expect.stringMatching(/certificate/)]);
  expect((await list(system.url, {})).code).toBe(8);
});

test('authority and certificate are changed without a restart of router or connector', async () => {
  await using directory = await makeTempDir();
  const files = await makeCertificates(directory.path, 'IP:127.0.0.1');
  const next = await makeCertificates(directory.path, 'IP:127.0.0.1', 'next-');
  await using router = await startRouterProcess(['--tls-cert', files.cert, '--tls-key', files.key]);
  const ca = join(directory.path, 'trusted.pem');
  await copyFile(files.ca, ca);
  await using connector = await startConnectorProcess(router.url, NODE, dataDir, ['--ca', ca]);
  await copyFile(next.ca, ca);
  await copyFile(next.cert, files.cert);
  await copyFile(next.key, files.key);
  // The router looks when somebody comes.
  while (!router.log.some(({ msg }) => msg === 'serving a new certificate')) await list(router.url, {}, ['--ca', ca]);
  // The link stands since before, and carries what is small; the connection that carries more is new.
  await writeFile(join(dataDir, 'large.bin'), Buffer.alloc(100_000));
  const args = ['app', 'request-stream', '--router', router.url, '--ca', ca, '--retry', '0', NODE, 'large.bin'];
  const { code, stderr } = await runRelay(args);
  expect([code, stderr]).toEqual([0, '']);
  expect(connector.log.filter(({ msg }) => msg === 'connected to router')).toHaveLength(1);
  await connector.logged(({ msg, file }) => msg === 'a changed file was read again' && file === ca);
});
