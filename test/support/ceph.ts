import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { randomBytes, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { openSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** A Ceph cluster of one node with its S3 gateway, on loopback only, all in memory and one directory. */
export interface Ceph extends AsyncDisposable {
  readonly endpoint: string;
  readonly accessKey: string;
  readonly secretKey: string;
}

const PROGRAMS = ['ceph-mon', 'ceph-mgr', 'ceph-osd', 'radosgw'];
const READY_TIMEOUT_MS = 90_000;

/**
 * Starts a monitor, a manager, an OSD and the gateway; it answers when this resolves, and all of it is gone when it is
 * disposed of. It is Debian's: `apt-get install --no-install-recommends ceph-mon ceph-mgr ceph-osd radosgw`.
 */
export async function startCeph(): Promise<Ceph> {
  for (const program of PROGRAMS) {
    await run(program, ['--version']).catch(() => {
      throw new Error(
        `${program} is missing; on Debian: apt-get install --no-install-recommends ${PROGRAMS.join(' ')}`,
      );
    });
  }
  const directory = await mkdtemp(join(tmpdir(), 'relay-ceph-'));
  const children: ChildProcess[] = [];
  const stop = async (): Promise<void> => {
    for (const child of children.toReversed()) await end(child);
    await rm(directory, { recursive: true, force: true });
  };
  try {
    return { ...(await startCluster(directory, children)), [Symbol.asyncDispose]: stop };
  } catch (error) {
    const log = await readFile(join(directory, 'out.log'), 'utf8').catch(() => '');
    await stop();
    throw new Error(`Ceph did not start:\n${log.slice(-3000)}`, { cause: error });
  }
}

async function startCluster(
  directory: string,
  children: ChildProcess[],
): Promise<Pick<Ceph, 'endpoint' | 'accessKey' | 'secretKey'>> {
  const path = (name: string): string => join(directory, name);
  const [v1, v2, http] = await findPorts(3);
  const monitor = `[v2:127.0.0.1:${v2}/0,v1:127.0.0.1:${v1}/0]`;
  const id = randomUUID();
  await writeFile(path('ceph.conf'), formatConfig(directory, id, monitor, `127.0.0.1:${http}`));
  for (const name of ['mon', 'mgr', 'osd', 'rgw', 'crash']) await mkdir(path(name));

  const log = openSync(path('out.log'), 'a');
  const conf = ['-c', path('ceph.conf')];
  const start = (program: string, ...args: string[]): void => {
    const child = spawn(program, [...conf, ...args, '-f'], { stdio: ['ignore', log, log] });
    children.push(child, startGuard(child));
  };
  await makeKeyring(path('keyring'));
  await run('monmaptool', ['--create', '--fsid', id, '--addv', 'a', monitor, path('monmap')]);
  await run('ceph-mon', [...conf, '-i', 'a', '--mkfs', '--monmap', path('monmap'), '--keyring', path('keyring')]);
  start('ceph-mon', '-i', 'a');
  const osd = randomUUID();
  await run('ceph', [...conf, '--connect-timeout', '30', 'osd', 'new', osd]);
  await run('ceph-osd', [...conf, '-i', '0', '--mkfs', '--osd-uuid', osd]);
  start('ceph-osd', '-i', '0');
  start('ceph-mgr', '-i', 'x');

  const [accessKey, secretKey] = [randomBytes(8).toString('hex'), randomBytes(16).toString('hex')];
  const user = ['user', 'create', '--uid', 'relay', '--display-name', 'relay'];
  await run('radosgw-admin', [...conf, ...user, '--access-key', accessKey, '--secret-key', secretKey], {
    timeout: READY_TIMEOUT_MS,
  });
  start('radosgw', '-n', 'client.admin');
  const endpoint = `http://127.0.0.1:${http}`;
  const deadline = Date.now() + READY_TIMEOUT_MS;
  while (!(await answers(endpoint))) if (Date.now() > deadline) throw new Error('the gateway is not ready in time');
  return { endpoint, accessKey, secretKey };
}

function formatConfig(directory: string, id: string, monitor: string, address: string): string {
  const settings = {
    fsid: id,
    'mon host': monitor,
    'public addr': '127.0.0.1',
    'cluster addr': '127.0.0.1',
    keyring: join(directory, 'keyring'),
    // One copy on one OSD, in memory.
    'osd pool default size': 1,
    'osd pool default min size': 1,
    'osd pool default pg num': 8,
    'osd pool default pgp num': 8,
    'osd crush chooseleaf type': 0,
    'mon allow pool size one': true,
    'osd objectstore': 'memstore',
    'memstore device bytes': 4 * 1024 ** 3,
    'mon data avail crit': 1,
    'mgr initial modules': '',
    'mon data': join(directory, 'mon'),
    'mgr data': join(directory, 'mgr'),
    'osd data': join(directory, 'osd'),
    'rgw data': join(directory, 'rgw'),
    'crash dir': join(directory, 'crash'),
    'run dir': directory,
    'admin socket': join(directory, '$name.asok'),
    'pid file': join(directory, '$name.pid'),
    'log file': join(directory, '$name.log'),
    'rgw frontends': `beast endpoint=${address}`,
  };
  return `[global]\n${Object.entries(settings)
    .map(([name, value]) => `${name} = ${value}\n`)
    .join('')}`;
}

async function makeKeyring(file: string): Promise<void> {
  const everything = ['--cap', 'mon', 'allow *', '--cap', 'osd', 'allow *', '--cap', 'mgr', 'allow *'];
  const entities: [name: string, caps: string[]][] = [
    ['mon.', ['--cap', 'mon', 'allow *']],
    ['client.admin', everything],
    ['osd.0', ['--cap', 'mon', 'allow profile osd', '--cap', 'mgr', 'allow profile osd', '--cap', 'osd', 'allow *']],
    ['mgr.x', ['--cap', 'mon', 'allow profile mgr', '--cap', 'osd', 'allow *']],
  ];
  for (const [index, [name, caps]] of entities.entries()) {
    await run('ceph-authtool', [...(index === 0 ? ['--create-keyring'] : []), file, '-n', name, '--gen-key', ...caps]);
  }
}

/** Ends a server when the tests' own process is killed, and so can dispose of nothing: its pipe breaks then. */
function startGuard({ pid }: ChildProcess): ChildProcess {
  const script = 'read line; kill -9 "$1"';
  return spawn('/bin/sh', ['-c', script, 'sh', String(pid)], { stdio: ['pipe', 'ignore', 'ignore'] });
}

async function answers(endpoint: string): Promise<boolean> {
  try {
    const response = await fetch(endpoint);
    await response.arrayBuffer();
    if (response.ok) return true;
  } catch {
    // Not listening yet.
  }
  await new Promise((resolve) => {
    setTimeout(resolve, 100);
  });
  return false;
}

async function findPorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer().listen(0, '127.0.0.1'));
  await Promise.all(servers.map((server) => once(server, 'listening')));
  const ports = servers.map((server) => (server.address() as { port: number }).port);
  await Promise.all(servers.map((server) => once(server.close(), 'close')));
  return ports;
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
  const exited = once(child, 'exit');
  child.kill('SIGKILL');
  await exited;
}
