import { cpus, release, totalmem, type } from 'node:os';
import { formatBytes, formatTable } from '../app/format.ts';
import type { Measurement, Pattern } from '../demo/measure.ts';

export const PATTERNS = ['A', 'B', 'C'] as const satisfies Pattern[];

export const PATTERN_NAMES: Readonly<Record<Pattern, string>> = {
  A: 'A buffering',
  B: 'B streaming',
  C: 'C offloading',
};

/** What one size came to in one pattern: medians of several runs. Fields are those of the JSON output. */
export interface Result {
  readonly pattern: Pattern;
  /** In bytes. */
  readonly size: number;
  readonly runs: number;
  readonly first_byte_ms: number;
  readonly bytes_per_second: number;
  /** How far the router's memory rose, in bytes; null where the router does not tell. */
  readonly memory_bytes: number | null;
}

/** The whole of a benchmark. */
export interface Report {
  /** RFC 3339. */
  readonly date: string;
  readonly version: string;
  readonly machine: {
    readonly cpu: string;
    readonly cores: number;
    readonly memory_bytes: number;
    readonly system: string;
    readonly node: string;
  };
  /** The router that was measured; null for one of its own. */
  readonly router: string | null;
  readonly results: readonly Result[];
}

/** Where the figures are taken. */
export const describeMachine = (): Report['machine'] => ({
  cpu: cpus()[0]?.model ?? 'unknown',
  cores: cpus().length,
  memory_bytes: totalmem(),
  system: `${type()} ${release()}`,
  node: process.version,
});

/** The medians of several measurements of the same thing. */
export function summarize(pattern: Pattern, runs: readonly Measurement[]): Result {
  const memory = runs.flatMap(({ memoryBytes }) => (memoryBytes === undefined ? [] : [memoryBytes]));
  return {
    pattern,
    size: runs[0]?.size ?? 0,
    runs: runs.length,
    first_byte_ms: median(runs.map(({ firstByteMs }) => firstByteMs)),
    bytes_per_second: median(runs.map(({ rate }) => rate)),
    memory_bytes: memory.length > 0 ? median(memory) : null,
  };
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((one, other) => one - other);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1
    ? (sorted[middle] as number)
    : ((sorted[middle - 1] as number) + (sorted[middle] as number)) / 2;
}

/** The results as a table, a line for each size and pattern. */
export function formatResults(results: readonly Result[]): string {
  const rows = results.map((each) => [
    formatBytes(each.size),
    PATTERN_NAMES[each.pattern],
    `${each.first_byte_ms.toFixed(1)} ms`,
    formatRate(each.bytes_per_second),
    each.memory_bytes === null ? 'not told' : `+ ${formatBytes(each.memory_bytes)}`,
  ]);
  return formatTable([['size', 'pattern', 'first byte', 'rate', 'router memory'], ...rows]);
}

/** A rate in MB/s, 10⁶ bytes. */
export function formatRate(bytesPerSecond: number): string {
  const rate = bytesPerSecond / 1e6;
  return `${rate.toFixed(rate < 10 ? 2 : 0)} MB/s`;
}
