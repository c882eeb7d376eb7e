import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** One server of nginx's, on loopback. */
export interface NginxServer {
  readonly port: number;
  /** Where its requests go: `http://127.0.0.1:PORT`. */
  readonly upstream: string;
  /** Directives beside `proxy_pass`; none for nginx at its defaults. */
  readonly directives?: string;
  /** Locations beside the one of all paths. */
  readonly locations?: string;
}

/** nginx as the distribution ships it, running for a test. */
export interface Nginx extends AsyncDisposable {
  /** The requests that were answered so far, as `METHOD PATH STATUS`. */
  readAccessLog(): Promise<string[]>;
}

const PROGRAM = 'nginx';
/** Where it is, which users other than root may not search. */
const PATH = `${process.env['PATH'] ?? ''}:/usr/local/sbin:/usr/sbin`;
const READY_TIMEOUT_MS = 10_000;

/** A port that is free now, for a server that cannot choose one by itself. */
export async function findFreePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, 'close');
  return port;
}

/**
 * Starts nginx. It takes connections when this resolves, and ends with the scope.
 *
 * @param http directives of its whole.
 */
export async function startNginx(servers: readonly NginxServer[], http = ''): Promise<Nginx> {
  const directory = await mkdtemp(join(tmpdir(), 'relay-nginx-'));
  const config = join(directory, 'nginx.conf');
  await writeFile(config, makeConfig(directory, servers, http));
  const child = spawn(PROGRAM, ['-c', config, '-p', directory, '-e', 'stderr'], {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { ...process.env, PATH },
  });
  let output = '';
  child.stderr.on('data', (text: Buffer) => {
    output = `${output}${text.toString()}`.slice(-4096);
  });
  const ended = new Promise<void>((resolve) => {
    child.once('error', (error) => {
      output += `${error.message}; it is Debian's package nginx-light\n`;
      resolve();
    });
    child.once('exit', () => resolve());
  });
  const guard = startGuard(child, directory);
  const stop = async (): Promise<void> => {
    child.kill('SIGTERM');
    await ended;
    guard.stdin?.end();
    await once(guard, 'exit');
    await rm(directory, { recursive: true, force: true });
  };
  try {
    for (const { port } of servers) await waitUntilReady(port, ended);
  } catch (cause) {
    await stop();
    throw new Error(`nginx did not start: ${output}`, { cause });
  }
  return {
    readAccessLog: async () => (await readFile(join(directory, 'access.log'), 'utf8')).split('\n').filter(Boolean),
    [Symbol.asyncDispose]: stop,
  };
}

function makeConfig(directory: string, servers: readonly NginxServer[], http: string): string {
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];
  // The workers of a master that runs as root would be somebody who may not write here.
  const user = process.getuid?.() === 0 ? 'user root;' : '';
  return `
    ${user}
    daemon off;
    pid ${directory}/nginx.pid;
    worker_processes 1;
    events {}
    http {
      log_format brief '$request_method $uri $status';
      access_log ${directory}/access.log brief;
      ${temporary.map((name) => `${name}_temp_path ${directory}/${name};`).join('\n')}
      ${http}
      ${servers.map(makeServer).join('\n')}
    }`;
}

const makeServer = ({ port, upstream, directives = '', locations = '' }: NginxServer): string => `
  server {
    listen 127.0.0.1:${port};
    location / {
      proxy_pass ${upstream};
      ${directives}
    }
    ${locations}
  }`;

/** Ends nginx when the tests' own process is killed, and so can dispose of nothing: its pipe breaks then. */
function startGuard({ pid }: ChildProcess, directory: string): ChildProcess {
  const script = 'read line; kill -TERM "$1" 2>/dev/null; rm -rf "$2"';
  return spawn('/bin/sh', ['-c', script, 'sh', String(pid), directory], { stdio: ['pipe', 'ignore', 'ignore'] });
}

/** nginx has no sign of readiness but that it listens. */
async function waitUntilReady(port: number, ended: Promise<void>): Promise<void> {
  const failed = ended.then(() => {
    throw new Error('it ended');
  });
  failed.catch(() => {});
  const deadline = Date.now() + READY_TIMEOUT_MS;
  while (!(await Promise.race([listens(port), failed]))) {
    if (Date.now() > deadline) throw new Error('it is not ready in time');
    await new Promise((resolve) => {
      setTimeout(resolve, 20);
    });
  }
}

async function listens(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1');
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}
