import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { chown, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { makeCertificate } from '../support/certificates.ts';
import { type Image, replayDockerfile } from '../support/dockerfile.ts';
import { RoleProcess, run, runRelay, startConnectorProcess, startRouterProcess } from '../support/processes.ts';
import { makeTempDir } from '../support/router.ts';

const ROOT = join(import.meta.dirname, '../..');
const MAC = 'cc-28-aa-01-02-03';
const resources = new AsyncDisposableStack();
let image: Image;
let work = '';

/**
 * Puts the image's root over that of this machine, read-only, with the volume as the only place to write to, and goes on as
 * the image's user without any privilege.
 */
const CONTAINER = `
set -e
root=$1 merged=$2 volume=$3 mountpoint=$4 node=$5 user=$6
shift 6
mount -t overlay overlay -o "lowerdir=$root:/" "$merged"
mount --bind "$node" "$merged/usr/local/bin/node"
mount -t proc proc "$merged/proc"
mount --rbind /dev "$merged/dev"
mount --bind "$volume" "$merged$mountpoint"
exec chroot "$merged" /usr/bin/setpriv --reuid="\${user%:*}" --regid="\${user#*:}" --clear-groups --no-new-privs \\
  --bounding-set=-all "$@"`;

beforeAll(async () => {
  work = resources.use(await makeTempDir()).path;
  // An overlay cannot have a directory and what is below it as its layers; this is another file system.
  const stages = await mkdtemp('/dev/shm/relay-stages-');
  resources.defer(() => rm(stages, { recursive: true, force: true }));
  image = await replayDockerfile(ROOT, join(work, 'build'));
  await run('cp', ['-a', image.root, join(stages, 'image')]);
  Object.assign(image, { root: join(stages, 'image') });
  await mkdir(join(image.root, 'usr/local/bin'), { recursive: true });
  await writeFile(join(image.root, 'usr/local/bin/node'), '');
}, 300_000);

afterAll(() => resources.disposeAsync());

/** The words that run something in a container of the image; only root may make one. */
async function enter(): Promise<string[]> {
  const [merged, volume] = ['merged', 'volume'].map((name) => join(work, name));
  for (const path of [merged, volume]) await mkdir(String(path), { recursive: true });
  await chown(String(volume), ...(image.user.split(':').map(Number) as [number, number]));
  const places = [image.root, merged, volume, image.volume, process.execPath, image.user].map(String);
  return ['/usr/bin/unshare', '--mount', '--propagation', 'private', '/bin/sh', '-c', CONTAINER, 'sh', ...places];
}

const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** What Docker would run in the container. */
async function checkHealth(port: string, variables: Record<string, string> = {}): Promise<number | null> {
  const [program, ...words] = image.healthcheck;
  const env = { PATH: dirname(process.execPath), RELAY_PORT: port, ...variables };
  return (await run(String(program), words, { env })).code;
}

describe('the image', () => {
  test('runs as a user of no name and no rights, without a shell between it and its signals', () => {
    expect(image.user).toMatch(/^[1-9]\d+:[1-9]\d+$/);
    expect([image.entrypoint[0], image.stopSignal, image.command]).toEqual(['node', 'SIGTERM', ['router']]);
    expect(image.from).toMatch(/^node:26[\w.-]*-slim$/);
    expect(image.labels).toMatchObject({ 'org.opencontainers.image.licenses': 'Apache-2.0' });
  });

  test('holds relay and its licenses, and nothing else', async () => {
    const { stdout } = await run('find', [image.root, '-type', 'f', '-size', '+0', '-printf', '%P\\n']);
    expect(stdout.toString().trim().split('\n').toSorted()).toEqual(['opt/relay/LICENSES.txt', 'opt/relay/relay.cjs']);
  });

  test('does not start a router that whoever reaches it could use', async () => {
    const [, ...words] = image.entrypoint.map((word) => word.replace(/^\/opt/, join(image.root, 'opt')));
    const env = { ...image.env, RELAY_STATE_DIR: join(work, 'state') };
    const { code, stderr } = await run(process.execPath, [...words, ...image.command], { env, cwd: work });
    expect([code, stderr]).toEqual([2, expect.stringContaining('--host 0.0.0.0 is beyond loopback')]);
  });
});

test('a router with a certificate is healthy, whoever signed that', async () => {
  const [cert, key] = ['cert.pem', 'key.pem'].map((name) => join(work, name)) as [string, string];
  await makeCertificate({ cert, key });
  const variables = { RELAY_TLS_CERT: cert, RELAY_TLS_KEY: key };
  await using router = await startRouterProcess([], variables);
  const { port } = new URL(router.url);
  expect(await checkHealth(port, variables)).toBe(0);
  expect(await router.end('SIGTERM')).toBe(0);
  expect(await checkHealth(port, variables)).toBe(1);
});

// Only root may make what a container is made of.
(process.getuid?.() === 0 ? describe : describe.skip)('a container of the image', () => {
  test('carries a dataset with its root file system read-only, says its health, and drains', async () => {
    const command = await enter();
    const env = { ...image.env, PATH, RELAY_HOST: '127.0.0.1', RELAY_PORT: '0' };
    const probe = await run(String(command[0]), [...command.slice(1), 'sh', '-c', 'id -u; touch /tmp/x /opt/relay/x'], {
      env,
    });
    expect(probe.stdout.toString().trim()).toBe(image.user.split(':')[0]);
    expect(probe.stderr.match(/Read-only file system/g)).toHaveLength(2);

    await using router = new RoleProcess([...image.entrypoint.slice(1), ...image.command], {
      command: [...command, String(image.entrypoint[0])],
      env,
    });
    const { url } = await router.logged((line) => typeof line['url'] === 'string');
    const { port } = new URL(String(url));
    await using data = await makeTempDir();
    await writeFile(join(data.path, 'a.csv'), 'a,b\n');
    await using _connector = await startConnectorProcess(String(url), MAC, data.path);
    for (const pattern of ['request-sync', 'request-stream', 'request-offload']) {
      const { code, stdout, stderr } = await runRelay(['app', pattern, MAC, 'a.csv', '--router', String(url)]);
      expect([pattern, code, stdout.toString(), stderr]).toEqual([pattern, 0, 'a,b\n', '']);
    }
    expect((await readFile(join(work, 'volume/state/objects.db'))).length).toBeGreaterThan(0);

    expect(await checkHealth(port)).toBe(0);
    expect(await router.end('SIGTERM')).toBe(0);
    expect(await checkHealth(port)).toBe(1);
  });
});
