import { type ChildProcess, spawn, type SpawnOptions } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { makeTempDir } from './router.ts';

/** What users run. */
export const RELAY = join(import.meta.dirname, '../../bin/relay.js');

export type LogLine = Record<string, unknown> & { msg?: string };

/** A role that runs as a process of its own. It ends with the scope, by SIGKILL where it has not ended before. */
export class RoleProcess implements AsyncDisposable {
  readonly child: ChildProcess;
  readonly log: LogLine[] = [];
  readonly exited: Promise<number | null>;
  #wakeUp = Promise.withResolvers<void>();

  /**
   * @param options.through a program and its arguments that runs it, such as setpriv.
   * @param options.command what to run in place of `bin/relay.js`; it gets no environment but `env`.
   */
  constructor(
    args: readonly string[],
    {
      through = [],
      command,
      ...options
    }: SpawnOptions & { readonly through?: readonly string[]; readonly command?: readonly string[] } = {},
  ) {
    const [program = '', ...words] = [...through, ...(command ?? [process.execPath, RELAY])];
    this.child = spawn(program, [...words, ...args, '--log-format', 'json'], {
      stdio: ['ignore', 'ignore', 'pipe'],
      ...options,
      env: command === undefined ? { ...cleanEnv(), ...options.env } : (options.env ?? {}),
    });
    this.exited = once(this.child, 'exit').then(([code]) => code as number | null);
    createInterface({ input: this.child.stderr as NodeJS.ReadableStream }).on('line', (line) => {
      this.log.push(parse(line));
      this.#wakeUp.resolve();
      this.#wakeUp = Promise.withResolvers();
    });
    void this.exited.then(() => this.#wakeUp.resolve());
  }

  get pid(): number {
    return this.child.pid as number;
  }

  /** The first line of the log that fits, now or later. @param from how many lines to pass over. */
  async logged(fits: (line: LogLine) => boolean, from = 0): Promise<LogLine> {
    for (;;) {
      const found = this.log.slice(from).find(fits);
      if (found !== undefined) return found;
      if (this.child.exitCode !== null || this.child.signalCode !== null) {
        throw new Error(
          `the process ended before it logged that:\n${this.log.map((line) => JSON.stringify(line)).join('\n')}`,
        );
      }
      await this.#wakeUp.promise;
    }
  }

  /** Sends a signal and waits for the end. */
  async end(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | null> {
    this.child.kill(signal);
    return this.exited;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.child.exitCode === null && this.child.signalCode === null) await this.end('SIGKILL');
  }
}

/** `relay router` on a free port, with a state directory of its own. */
export async function startRouterProcess(
  args: readonly string[] = [],
  env: NodeJS.ProcessEnv = {},
): Promise<RoleProcess & { url: string; stateDir: string }> {
  const directory = await makeTempDir();
  const stateDir = join(directory.path, 'state');
  const own = args.includes('--port') ? [] : ['--port', '0'];
  const role = new RoleProcess(['router', ...own, '--state-dir', stateDir, ...args], { cwd: directory.path, env });
  void role.exited.then(() => directory[Symbol.asyncDispose]());
  const { url } = await role.logged((line) => typeof line['url'] === 'string');
  return Object.assign(role, { url: String(url), stateDir });
}

/** `relay connector`, once it is connected. */
export async function startConnectorProcess(
  router: string,
  mac: string,
  dataDir: string,
  args: readonly string[] = [],
): Promise<RoleProcess> {
  const role = new RoleProcess(['connector', '--router', router, '--mac', mac, '--data-dir', dataDir, ...args], {
    cwd: dataDir,
  });
  await role.logged(({ msg }) => msg === 'connected to router');
  return role;
}

export interface RunResult {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: Buffer;
  readonly stderr: string;
}

/** A command line under way. */
export interface Running {
  readonly child: ChildProcess;
  readonly result: Promise<RunResult>;
}

/** Starts `relay ARGS`, by the program of `through` if there is one. Its standard output is collected. */
export function startRelay(
  args: readonly string[],
  { through = [], ...options }: SpawnOptions & { readonly through?: readonly string[] } = {},
): Running {
  const [program = process.execPath, ...words] = [...through, process.execPath, RELAY, ...args];
  const child = spawn(program, words, {
    stdio: ['ignore', 'pipe', 'pipe'],
    ...options,
    env: { ...cleanEnv(), ...options.env },
  });
  return { child, result: finish(child) };
}

/** A token for a connector or its datasets, as `relay token create` prints it with the secret in `env`. */
export const createToken = async (args: readonly string[], env: NodeJS.ProcessEnv): Promise<string> =>
  String((await runRelay(['token', 'create', ...args], { env })).stdout).trim();

/** Runs `relay ARGS` to its end. */
export const runRelay = (...words: Parameters<typeof startRelay>): Promise<RunResult> => startRelay(...words).result;

/** Starts any program. Its standard output is collected. */
export function start(program: string, args: readonly string[], options: SpawnOptions = {}): Running {
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], ...options });
  return { child, result: finish(child) };
}

/** Runs any program to its end. */
export const run = (program: string, args: readonly string[], options: SpawnOptions = {}): Promise<RunResult> =>
  start(program, args, options).result;

/** Resident memory of a process in bytes: now, and the most since `resetPeakMemory`. Linux only. */
export async function readMemory(pid: number): Promise<{ resident: number; peak: number }> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  const field = (name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(status)?.[1]) * 1024;
  return { resident: field('VmRSS'), peak: field('VmHWM') };
}

async function finish(child: ChildProcess): Promise<RunResult> {
  const [stdout, stderr, [code, signal]] = await Promise.all([
    collect(child.stdout),
    collect(child.stderr),
    once(child, 'exit'),
  ]);
  return { code: code as number | null, signal: signal as NodeJS.Signals | null, stdout, stderr: stderr.toString() };
}

async function collect(stream: NodeJS.ReadableStream | null): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for await (const piece of stream ?? []) pieces.push(piece as Buffer);
  return Buffer.concat(pieces);
}

/** The environment without what would configure relay, its proxies or the AWS SDK by chance. */
function cleanEnv(): NodeJS.ProcessEnv {
  return Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !/^((RELAY|AWS)_|(HTTPS?|NO)_PROXY$)/i.test(name)),
  );
}

function parse(line: string): LogLine {
  try {
    return JSON.parse(line) as LogLine;
  } catch {
    return { msg: line };
  }
}
