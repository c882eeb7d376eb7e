import { execFileSync } from 'node:child_process';
import { cpus, hostname, loadavg, release, totalmem, type } from 'node:os';

/** Where figures were taken, without which they mean nothing. */
export interface Machine {
  readonly host: string;
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGib: number;
  readonly kernel: string;
  readonly node: string;
  /** Commit of this checkout; with `+` where files differ from it, and `unknown` outside git. */
  readonly commit: string;
  /** Processes that wanted to run, over the last minute, when the benchmark began. */
  readonly load: number;
}

/** Describes this machine and this checkout. */
export function describeMachine(): Machine {
  return {
    host: hostname(),
    cpu: cpus()[0]?.model ?? 'unknown',
    cores: cpus().length,
    memoryGib: Math.round(totalmem() / 1024 ** 3),
    kernel: `${type()} ${release()}`,
    node: process.version,
    commit: readCommit(),
    load: loadavg()[0] ?? 0,
  };
}

function readCommit(): string {
  try {
    return `${git('rev-parse', '--short=12', 'HEAD')}${git('status', '--porcelain') === '' ? '' : '+'}`;
  } catch {
    return 'unknown';
  }
}

const git = (...args: string[]): string =>
  execFileSync('git', args, { cwd: import.meta.dirname, stdio: ['ignore', 'pipe', 'ignore'] })
    .toString()
    .trim();
