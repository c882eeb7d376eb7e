import { EventEmitter } from 'node:events';
import { PassThrough, Writable } from 'node:stream';
import type { Io } from '../../../../src/cli/io.ts';
import { main } from '../../../../src/cli/run.ts';

/** What a command line came to. */
export interface Outcome {
  readonly code: number;
  readonly stdout: Buffer;
  readonly stderr: string;
}

/** A stream that keeps what is written to it. */
function keep(): { stream: Writable; bytes: () => Buffer } {
  const pieces: Buffer[] = [];
  const stream = new Writable({
    write(piece: Buffer, _encoding, done) {
      // A copy: what is written is its writer's again.
      pieces.push(Buffer.from(piece));
      done();
    },
  });
  return { stream, bytes: () => Buffer.concat(pieces) };
}

/** How a test differs from a run with pipes and nothing in its environment. */
export interface RunOptions {
  readonly router: string;
  readonly stdout?: Io['stdout'];
  readonly signals?: EventEmitter;
  readonly env?: Record<string, string>;
}

/** Runs `relay app …` in this process. */
export async function runApp(words: readonly string[], { router, stdout, signals, env }: RunOptions): Promise<Outcome> {
  const out = keep();
  const err = keep();
  const code = await main(['app', ...words], {
    stdin: new PassThrough(),
    stdout: stdout ?? out.stream,
    stderr: err.stream,
    surroundings: { env: { RELAY_ROUTER: router, ...env }, cwd: '/', home: '/', uid: 1 },
    signals: signals ?? new EventEmitter(),
  });
  return { code, stdout: out.bytes(), stderr: String(err.bytes()) };
}
