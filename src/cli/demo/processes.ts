import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { isSea } from 'node:sea';
import { RelayError } from '../../protocol/errors.ts';

/** How long a process may take to say that it is ready, in ms. */
const READY_TIMEOUT_MS = 15_000;
/** How long it may take to end when it is asked to, in ms. */
const END_TIMEOUT_MS = 5000;

/** The words that start this very program again; the single file has no script to name. */
const SELF = isSea() ? [process.execPath] : [process.execPath, process.argv[1] ?? ''];

/** What a run of the command line gave. */
export interface CommandResult {
  readonly exitCode: number;
  readonly stdout: Buffer;
  readonly stderr: string;
  readonly ms: number;
}

/** The processes of a demo. None of them outlives it. */
export class Processes implements AsyncDisposable {
  readonly #children: ChildProcess[] = [];
  readonly #directory: string;

  /** @param directory where they run: no `.env` of the user's is read. */
  constructor(directory: string) {
    this.#directory = directory;
  }

  /**
   * Starts a role and waits until it logs what `isReady` accepts.
   * @throws {RelayError} internal when it ends or is not ready in time, with the last that it said.
   */
  async startRole(
    args: readonly string[],
    isReady: (line: Record<string, unknown>) => boolean,
  ): Promise<Record<string, unknown>> {
    const child = this.#spawn([...args, '--log-format', 'json'], ['ignore', 'ignore', 'pipe']);
    const said: string[] = [];
    const ready = Promise.withResolvers<Record<string, unknown>>();
    const lines = createInterface({ input: child.stderr as NodeJS.ReadableStream });
    lines.on('line', (line) => {
      said.push(line);
      const record = parse(line);
      if (record !== undefined && isReady(record)) ready.resolve(record);
    });
    const fail = (why: string): void =>
      ready.reject(new Error(`relay ${args[0]} ${why}:\n${said.slice(-5).join('\n')}`));
    child.once('exit', (code) => fail(`ended with ${code}`));
    const timer = setTimeout(() => fail('did not get ready'), READY_TIMEOUT_MS);
    try {
      return await ready.promise;
    } catch (cause) {
      throw new RelayError('router_unreachable', (cause as Error).message, { cause });
    } finally {
      clearTimeout(timer);
    }
  }

  /** Runs a command to its end. */
  async run(args: readonly string[]): Promise<CommandResult> {
    const begun = performance.now();
    const child = this.#spawn(args, ['ignore', 'pipe', 'pipe']);
    const [stdout, stderr, [code]] = await Promise.all([
      collect(child.stdout),
      collect(child.stderr),
      once(child, 'exit'),
    ]);
    return { exitCode: (code as number | null) ?? 1, stdout, stderr: stderr.toString(), ms: performance.now() - begun };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#children.toReversed().map(end));
  }

  #spawn(args: readonly string[], stdio: ('ignore' | 'pipe')[]): ChildProcess {
    const [program = '', ...script] = SELF;
    const child = spawn(program, [...script, ...args], { stdio, cwd: this.#directory });
    this.#children.push(child);
    return child;
  }
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
  const ended = once(child, 'exit');
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), END_TIMEOUT_MS);
  await ended;
  clearTimeout(timer);
}

async function collect(stream: NodeJS.ReadableStream | null): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for await (const piece of stream ?? []) pieces.push(piece as Buffer);
  return Buffer.concat(pieces);
}

function parse(line: string): Record<string, unknown> | undefined {
  try {
    return JSON.parse(line) as Record<string, unknown>;
  } catch {
    return undefined;
  }
}
