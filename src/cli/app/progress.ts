import { Presets, SingleBar } from 'cli-progress';
import type { Io } from '../io.ts';
import { formatBytes, formatDuration } from './format.ts';

/** Shows how far a transfer is. */
export interface Progress {
  /** Begins a stretch of work, such as `download`; the total is in bytes, where it is known, and `done` of them are done. */
  begin(label: string, total: number | undefined, done?: number): void;
  /** So many bytes of it are done. */
  update(done: number): void;
  /** Takes the bar away. */
  end(): void;
}

const silent: Progress = { begin: () => undefined, update: () => undefined, end: () => undefined };

/** Whether a bar can be shown: standard error is a terminal, and the data do not go to it. */
export function wantsProgress(
  { stderr, stdout }: Pick<Io, 'stderr' | 'stdout'>,
  { progress, quiet, output }: { progress?: boolean | undefined; quiet: boolean; output?: string | undefined },
): boolean {
  const dataOnTerminal = (output === undefined || output === '-') && stdout.isTTY === true;
  return stderr.isTTY === true && !quiet && progress !== false && !dataOnTerminal;
}

/** A progress bar with rate and time left on `stderr`, or, unless `shown`, nothing at all. */
export function createProgress(stderr: Io['stderr'], shown: boolean, now: () => number = Date.now): Progress {
  return shown ? new Bar(stderr, now) : silent;
}

/** Over how long the rate is averaged, in milliseconds. */
const WINDOW_MS = 5000;

class Bar implements Progress {
  readonly #stderr: Io['stderr'];
  readonly #now: () => number;
  #bar: SingleBar | undefined;
  #total: number | undefined;
  #samples: { readonly at: number; readonly done: number }[] = [];

  constructor(stderr: Io['stderr'], now: () => number) {
    this.#stderr = stderr;
    this.#now = now;
  }

  begin(label: string, total: number | undefined, done = 0): void {
    this.end();
    this.#total = total;
    this.#samples = [{ at: this.#now(), done }];
    const format =
      total === undefined ? `${label}  {done}  {rate}` : `${label} [{bar}] {percentage}%  {done}/{of}  {rate}  {left}`;
    this.#bar = new SingleBar(
      {
        format,
        stream: this.#stderr,
        barsize: 24,
        clearOnComplete: true,
        // Signals are heard in one place, which is not here.
        gracefulExit: false,
        etaAsynchronousUpdate: false,
      },
      Presets.legacy,
    );
    this.#bar.start(total ?? 0, done, this.#words(done));
  }

  update(done: number): void {
    const at = this.#now();
    const last = this.#samples.at(-1);
    if (last === undefined || at - last.at >= 100) this.#samples.push({ at, done });
    while (this.#samples.length > 2 && at - (this.#samples[0]?.at ?? at) > WINDOW_MS) this.#samples.shift();
    this.#bar?.update(done, this.#words(done));
  }

  end(): void {
    this.#bar?.stop();
    this.#bar = undefined;
  }

  #words(done: number): Record<string, string> {
    const first = this.#samples[0];
    const elapsedMs = first === undefined ? 0 : this.#now() - first.at;
    const perMs = first === undefined || elapsedMs <= 0 ? 0 : Math.max(0, done - first.done) / elapsedMs;
    const leftMs = this.#total === undefined || perMs === 0 ? undefined : (this.#total - done) / perMs;
    return {
      done: formatBytes(done),
      of: formatBytes(this.#total ?? 0),
      rate: `${formatBytes(Math.round(perMs * 1000))}/s`,
      left: leftMs === undefined ? '' : `${formatDuration(leftMs)} left`,
    };
  }
}
