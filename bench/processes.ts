import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { findProgram } from './programs.ts';

/** How long a process may take to get ready. */
const READY_TIMEOUT_MS = 30_000;
/** Between two looks at whether it is. */
const LOOK_MS = 5;
/** How long a process may take to end when it is asked to, before it is killed. */
const END_TIMEOUT_MS = 5000;
/** How much of what a process said is shown when it dies. */
const TAIL_CHARACTERS = 4000;

export interface StartOptions {
  /** Program and arguments in front of the command, such as `ip netns exec NAME`. */
  readonly through?: readonly string[];
  readonly env?: NodeJS.ProcessEnv;
  /** The signal that ends it. Default SIGKILL: nothing that is measured here has anything to save. */
  readonly endSignal?: NodeJS.Signals;
  /** How long it may take to get ready. Default 30 s. */
  readonly timeoutMs?: number;
  /** Keeps standard input open, for programs that run until it ends. */
  readonly holdsInput?: boolean;
}

/** A process that runs until it is stopped. */
export interface Running {
  readonly pid: number;
  readonly child: ChildProcess;
  /** What it has said so far on standard output and standard error. */
  readOutput(): string;
}

/** What a command that ran to its end gave. */
export interface Finished {
  readonly stdout: string;
  readonly exitCode: number;
  readonly ms: number;
}

/** Every registry that is open, for the signals that end this process. */
const open = new Set<Processes>();
/** Directories that go with this process. */
const directories = new Set<string>();

/** Removes a directory when this process ends, however it does. */
export function removeAtEnd(directory: string): void {
  directories.add(directory);
}

/** Makes Ctrl-C, SIGTERM and SIGHUP stop every process that was started, and remove every directory, before this one ends. */
export function stopAllOnSignals(): void {
  process.once('exit', () => {
    for (const directory of directories) rmSync(directory, { recursive: true, force: true });
  });
  for (const [signal, code] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
    ['SIGHUP', 129],
  ] as const) {
    process.once(signal, () => void endWith(code));
  }
}

async function endWith(code: number): Promise<void> {
  await Promise.all([...open].map((processes) => processes.stopAll()));
  process.exit(code);
}

/** The processes of one scenario. None outlives it: they are stopped with the scope, and by the kernel when this one is killed. */
export class Processes implements AsyncDisposable {
  /** Rejects when a process ends that was not told to, with the last that it said. */
  readonly failed: Promise<never>;
  readonly #fail: (reason: Error) => void;
  readonly #directory: string;
  readonly #children = new Map<ChildProcess, NodeJS.Signals>();
  readonly #stopping = new WeakSet<ChildProcess>();
  #count = 0;
  #isOver = false;

  /** @param directory where they run and where what they say is kept: no `.env` of the user's is read. */
  constructor(directory: string) {
    this.#directory = directory;
    const { promise, reject } = Promise.withResolvers<never>();
    promise.catch(() => {});
    this.failed = promise;
    this.#fail = reject;
    open.add(this);
  }

  /**
   * Starts a process and waits until it is ready.
   * @param isReady looks at what it said so far; is asked again and again.
   * @throws {Error} with what it said, when it ends before, or is not ready in time.
   */
  async start(
    command: readonly string[],
    isReady: (output: string) => boolean | Promise<boolean>,
    { endSignal = 'SIGKILL', holdsInput = false, timeoutMs = READY_TIMEOUT_MS, ...options }: StartOptions = {},
  ): Promise<Running> {
    const file = join(this.#directory, `output-${++this.#count}`);
    const output = openSync(file, 'w');
    const child = this.#spawn(command, [holdsInput ? 'pipe' : 'ignore', output, output], endSignal, options);
    closeSync(output);
    const readOutput = (): string => readFileSync(file, 'utf8');
    const describe = (what: string): Error =>
      new Error(`${command.join(' ')} ${what}:\n${readOutput().slice(-TAIL_CHARACTERS)}`);
    child.once('error', (cause) => this.#fail(new Error(`cannot run ${command[0]}`, { cause })));
    child.once('exit', (code, signal) => {
      if (!this.#stopping.has(child)) this.#fail(describe(`ended by itself (${signal ?? code})`));
    });
    const deadline = performance.now() + timeoutMs;
    while (!(await Promise.race([isReady(readOutput()), this.failed]))) {
      if (performance.now() > deadline) throw describe('is not ready in time');
      await Promise.race([sleep(LOOK_MS), this.failed]);
    }
    return { pid: child.pid as number, child, readOutput };
  }

  /**
   * Runs a command to its end.
   * @param allowed exit codes that are no failure.
   * @throws {Error} with its standard error, when it ends with another code; what {@link failed} says when another process dies meanwhile.
   */
  async run(
    command: readonly string[],
    { allowed = [0], ...options }: StartOptions & { readonly allowed?: readonly number[] } = {},
  ): Promise<Finished> {
    const begun = performance.now();
    const child = this.#spawn(command, ['ignore', 'pipe', 'pipe'], 'SIGKILL', options);
    const ended = Promise.all([collect(child.stdout), collect(child.stderr), once(child, 'exit')]);
    ended.catch(() => {});
    const [stdout, stderr, [code]] = await Promise.race([ended, this.failed]);
    const exitCode = (code as number | null) ?? -1;
    this.#children.delete(child);
    if (!allowed.includes(exitCode)) {
      throw new Error(`${command.join(' ').slice(0, 500)} ended with ${exitCode}: ${stderr.slice(-TAIL_CHARACTERS)}`);
    }
    return { stdout, exitCode, ms: performance.now() - begun };
  }

  /** Ends a process and waits until it is gone. */
  async stop({ child }: Pick<Running, 'child'>): Promise<void> {
    this.#stopping.add(child);
    const signal = this.#children.get(child);
    this.#children.delete(child);
    if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
    const ended = once(child, 'exit');
    child.stdin?.end();
    child.kill(signal);
    const timer = setTimeout(() => child.kill('SIGKILL'), END_TIMEOUT_MS);
    await ended;
    clearTimeout(timer);
  }

  /** Ends all that still run, the last one first. */
  async stopAll(): Promise<void> {
    this.#isOver = true;
    open.delete(this);
    for (const child of [...this.#children.keys()].toReversed()) await this.stop({ child });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stopAll();
  }

  #spawn(
    command: readonly string[],
    stdio: ('ignore' | 'pipe' | number)[],
    endSignal: NodeJS.Signals,
    { through = [], env = {} }: Pick<StartOptions, 'through' | 'env'>,
  ): ChildProcess {
    // A scenario that another process's end cut short may not have noticed yet.
    if (this.#isOver) throw new Error('the scenario is over');
    // The kernel ends it when this process is killed and can stop nothing any more.
    const setpriv = findProgram('setpriv');
    const guard = setpriv === undefined ? [] : [setpriv, '--pdeathsig', endSignal.replace('SIG', '')];
    const [program = '', ...words] = [...guard, ...through, ...command];
    const child = spawn(program, words, {
      stdio,
      cwd: this.#directory,
      env: { ...cleanEnvironment(), ...env },
      // Ctrl-C is for this process alone, which then stops them in order.
      detached: true,
    });
    this.#children.set(child, endSignal);
    return child;
  }
}

async function collect(stream: NodeJS.ReadableStream | null): Promise<string> {
  const pieces: Buffer[] = [];
  for await (const piece of stream ?? []) pieces.push(piece as Buffer);
  return Buffer.concat(pieces).toString();
}

/** The environment without what would configure relay, the AWS SDK, or where requests go, by chance. */
function cleanEnvironment(): NodeJS.ProcessEnv {
  return Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !/^(?:RELAY_|AWS_|NODE_OPTIONS$)|_proxy$/i.test(name)),
  );
}
