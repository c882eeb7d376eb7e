import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFile, readFile, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { findProgram } from '../../scripts/test-programs.mjs';
import type { Certificates } from './authority.ts';
import { findFreePort } from './nginx.ts';
import { makeTempDir } from './router.ts';

/** A real proxy in front of a router, run with the file that is given out. */
export interface ReverseProxy extends AsyncDisposable {
  /** Where clients reach the router. */
  readonly url: string;
}

/** What a proxy is told. */
export interface ReverseProxyOptions {
  /** The router's URL. */
  readonly router: string;
  readonly certificates: Certificates;
  /** Where it listens on loopback; default a free port. */
  readonly port?: number;
  /** Other changes to the file, as its comments tell: each text must be there. */
  readonly changes?: readonly (readonly [from: string, to: string])[];
}

const DEPLOY = join(import.meta.dirname, '../../deploy');
const ATTEMPTS = 5;
const READY_TIMEOUT_MS = 15_000;
/** How long a proxy may take to end when it is asked to. */
const END_TIMEOUT_MS = 5000;

interface Setup {
  /** Its file in `deploy/`. */
  readonly file: string;
  /** What address, port and paths become. */
  readonly changes: (port: number, directory: string, options: ReverseProxyOptions) => [from: string, to: string][];
  /** The arguments that run it with the file in the foreground. */
  readonly start: (file: string, directory: string) => Promise<string[]>;
}

const SETUPS = {
  nginx: {
    file: 'nginx.conf',
    changes: (port, _directory, { router, certificates }) => [
      ['listen 443 ssl;', `listen 127.0.0.1:${port} ssl;`],
      ['/etc/ssl/relay/fullchain.pem', certificates.cert],
      ['/etc/ssl/relay/privkey.pem', certificates.key],
      ['127.0.0.1:8080;', `${new URL(router).host};`],
    ],
    start: async (file, directory) => {
      // What stands around such a file in the distribution's own.
      const main = join(directory, 'main.conf');
      const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];
      const lines = [
        ...(process.geteuid?.() === 0 ? ['user root;'] : []),
        'daemon off;',
        `pid ${join(directory, 'nginx.pid')};`,
        'events { worker_connections 512; }',
        'http {',
        'access_log off;',
        ...temporary.map((name) => `${name}_temp_path ${join(directory, name)};`),
        `include ${file};`,
        '}',
      ];
      await writeFile(main, lines.join('\n'));
      return ['nginx', '-e', 'stderr', '-p', directory, '-c', main];
    },
  },
  caddy: {
    file: 'Caddyfile',
    changes: (port, _directory, { router, certificates }) => [
      ['relay.example.com {', `https://127.0.0.1:${port} {`],
      ['# tls /etc/ssl/relay/fullchain.pem', `tls ${certificates.cert}`],
      ['/etc/ssl/relay/privkey.pem', certificates.key],
      ['127.0.0.1:8080', new URL(router).host],
    ],
    start: async (file) => {
      // Its own port for administration and the one of HTTP are shared by all that run.
      const text = await readFile(file, 'utf8');
      await writeFile(file, `{\n\tadmin off\n\tauto_https disable_redirects\n}\n${text}`);
      return ['caddy', 'run', '--adapter', 'caddyfile', '--config', file];
    },
  },
  haproxy: {
    file: 'haproxy.cfg',
    changes: (port, directory, { router }) => [
      ['bind :443 ', `bind 127.0.0.1:${port} `],
      ['/etc/haproxy/relay.pem', join(directory, 'relay.pem')],
      ['127.0.0.1:8080', new URL(router).host],
    ],
    start: async (file) => Promise.resolve(['haproxy', '-db', '-f', file]),
  },
} as const satisfies Record<string, Setup>;

/** The proxies that relay comes with a file for. */
export const REVERSE_PROXIES = Object.keys(SETUPS) as (keyof typeof SETUPS)[];

/** Starts a proxy over TLS. It takes connections when this resolves. */
export async function startReverseProxy(
  name: keyof typeof SETUPS,
  options: ReverseProxyOptions,
): Promise<ReverseProxy> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await startOnce(name, options);
    } catch (error) {
      // A free port may have been taken by another meanwhile.
      if (attempt === ATTEMPTS || !/in use|bind/i.test(String(error))) throw error;
    }
  }
}

async function startOnce(name: keyof typeof SETUPS, options: ReverseProxyOptions): Promise<ReverseProxy> {
  const setup: Setup = SETUPS[name];
  const directory = await makeTempDir();
  const port = options.port ?? (await findFreePort());
  const file = join(directory.path, setup.file);
  let text = await readFile(join(DEPLOY, setup.file), 'utf8');
  for (const [from, to] of [...setup.changes(port, directory.path, options), ...(options.changes ?? [])]) {
    if (!text.includes(from)) throw new Error(`deploy/${setup.file} does not have ${JSON.stringify(from)}`);
    text = text.replace(from, () => to);
  }
  await writeFile(file, text);
  await writeFile(join(directory.path, 'relay.pem'), await readFile(options.certificates.cert));
  await appendFile(join(directory.path, 'relay.pem'), await readFile(options.certificates.key));
  const [program = '', ...args] = await setup.start(file, directory.path);
  const env = { PATH: process.env['PATH'], HOME: directory.path, XDG_DATA_HOME: directory.path };
  // A group of its own, so that its workers end with it.
  const child = spawn(await findProgram(program as typeof name), args, {
    cwd: directory.path,
    env,
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (piece: Buffer) => {
      output = `${output}${piece.toString()}`.slice(-4096);
    });
  }
  const guard = startGuard(child);
  const stop = async (): Promise<void> => {
    await end(child);
    await end(guard);
    await directory[Symbol.asyncDispose]();
  };
  try {
    await waitForPort(port, child);
  } catch (cause) {
    await stop();
    throw new Error(`${name} did not start: ${output}`, { cause });
  }
  return { url: `https://127.0.0.1:${port}`, [Symbol.asyncDispose]: stop };
}

/** Ends the proxy and its workers when the tests' own process is killed: its pipe breaks then. */
function startGuard({ pid }: ChildProcess): ChildProcess {
  const script = 'read line; kill -9 -- "-$1"';
  return spawn('/bin/sh', ['-c', script, 'sh', String(pid)], { stdio: ['pipe', 'ignore', 'ignore'] });
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
  const exited = once(child, 'exit');
  const { pid } = child;
  child.kill('SIGTERM');
  const timer = setTimeout(() => process.kill(-pid, 'SIGKILL'), END_TIMEOUT_MS);
  await exited;
  clearTimeout(timer);
}

/** These proxies have no other sign of readiness in common. */
async function waitForPort(port: number, child: ChildProcess): Promise<void> {
  const deadline = Date.now() + READY_TIMEOUT_MS;
  while (!(await isListening(port))) {
    if (child.exitCode !== null || child.signalCode !== null) throw new Error('it ended');
    if (Date.now() > deadline) throw new Error('it does not listen in time');
    await new Promise((resolve) => {
      setTimeout(resolve, 50);
    });
  }
}

function isListening(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}
