import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { type Processes, type StartOptions } from './processes.ts';

/** What curl measured of one transfer. */
export interface Transfer {
  readonly bytes: number;
  /** From the start of the request to the last byte. */
  readonly ms: number;
  readonly firstByteMs: number;
  /** 10^6 bytes a second over the whole of it. */
  readonly megabytesPerSecond: number;
}

const MB = 1_000_000;
const GIB = 1024 ** 3;
/** Ticks of the times in /proc, the same on every Linux. */
const TICKS_PER_SECOND = 100;
/** curl's code for a transfer that `--max-time` ended. */
const CURL_TIMED_OUT = 28;

export interface GetOptions extends Pick<StartOptions, 'through'> {
  /** What each transfer must bring. */
  readonly bytes: number;
  /** How often it is fetched, over one connection. Default once. */
  readonly times?: number;
  /** More arguments of curl's. */
  readonly args?: readonly string[];
  /** Ends the transfer after this time, and counts what came until then. */
  readonly maxSeconds?: number;
}

/**
 * Fetches a URL with curl to /dev/null.
 * @throws {Error} when the status is not 200 or 206, or another number of bytes arrives.
 */
export async function get(
  processes: Processes,
  url: string,
  { bytes, times = 1, args = [], maxSeconds, through = [] }: GetOptions,
): Promise<Transfer[]> {
  const limit = maxSeconds === undefined ? [] : ['--max-time', String(maxSeconds)];
  const format = '%{http_code} %{size_download} %{time_total} %{time_starttransfer}\\n';
  const targets = Array.from({ length: times }, () => ['-o', '/dev/null', url]).flat();
  const { stdout, exitCode } = await processes.run(['curl', '-sS', ...limit, '-w', format, ...args, ...targets], {
    through,
    allowed: [0, ...(maxSeconds === undefined ? [] : [CURL_TIMED_OUT])],
  });
  const lines = stdout.trim().split('\n');
  return lines.map((line) => {
    const [status = 0, size = 0, seconds = 0, firstByteSeconds = 0] = line.split(' ').map(Number);
    const isWhole = size === bytes || exitCode === CURL_TIMED_OUT;
    if (lines.length !== times || !isWhole || (status !== 200 && status !== 206)) {
      throw new Error(`${url} gave ${size} of ${bytes} bytes with status ${status}`);
    }
    return {
      bytes: size,
      ms: seconds * 1000,
      firstByteMs: firstByteSeconds * 1000,
      megabytesPerSecond: size / MB / seconds,
    };
  });
}

/** Fetches a URL once, see {@link get}. */
export async function getOnce(processes: Processes, url: string, options: GetOptions): Promise<Transfer> {
  const [transfer] = await get(processes, url, options);
  if (transfer === undefined) throw new Error(`curl said nothing of ${url}`);
  return transfer;
}

/** Does work and tells what CPU time processes and their descendants spent on it, in seconds. */
export async function withCpu<T>(pids: readonly number[], work: () => Promise<T>): Promise<{ result: T; cpu: number }> {
  const before = readCpuSeconds(pids);
  const result = await work();
  return { result, cpu: readCpuSeconds(pids) - before };
}

/** CPU seconds for a GiB. */
export const cpuPerGib = (seconds: number, bytes: number): number => seconds / (bytes / GIB);

/** CPU time of processes and all their descendants that still run, in seconds: user and system (proc(5), `stat`). */
function readCpuSeconds(pids: readonly number[]): number {
  let ticks = 0;
  for (const pid of pids.flatMap(listTree)) {
    // The name of the program, in parentheses, may hold anything.
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
      .replace(/^.*\) /s, '')
      .split(' ');
    ticks += Number(fields[11]) + Number(fields[12]);
  }
  return ticks / TICKS_PER_SECOND;
}

function listTree(pid: number): number[] {
  const children = readdirSync(`/proc/${pid}/task`).flatMap((task) =>
    readFileSync(`/proc/${pid}/task/${task}/children`, 'utf8').split(' ').filter(Boolean).map(Number),
  );
  return [pid, ...children.flatMap(listTree)];
}

/** Resident memory of a process now, in MiB. */
export const readResidentMib = (pid: number): number => readStatusMib(pid, 'VmRSS');

/** Does work and tells the most resident memory that a process had meanwhile, and what it had before, in MiB. */
export async function withPeak(pid: number, work: () => Promise<unknown>): Promise<{ before: number; peak: number }> {
  const before = readResidentMib(pid);
  // 5 sets the high-water mark back to what is resident now (proc(5), `clear_refs`).
  writeFileSync(`/proc/${pid}/clear_refs`, '5');
  await work();
  return { before, peak: readStatusMib(pid, 'VmHWM') };
}

function readStatusMib(pid: number, field: string): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  return Number(new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(status)?.[1]) / 1024;
}

/** Measures both sides in turn, so that what else the machine does falls on both; every other round the rival goes first. */
export async function alternate<T>(
  runs: number,
  relay: () => Promise<T>,
  rival: (() => Promise<T>) | undefined,
): Promise<{ relay: T[]; rival: T[] }> {
  const figures = { relay: [] as T[], rival: [] as T[] };
  for (let run = 0; run < runs; run++) {
    const sides = ['relay', 'rival'] as const;
    for (const side of run % 2 === 0 ? sides : sides.toReversed()) {
      if (side === 'relay') figures.relay.push(await relay());
      else if (rival !== undefined) figures.rival.push(await rival());
    }
  }
  return figures;
}

/** The middle of some figures; of two, between them. */
export function median(figures: readonly number[]): number {
  const sorted = figures.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  const [low = Number.NaN, high = Number.NaN] = [sorted[sorted.length % 2 === 0 ? middle - 1 : middle], sorted[middle]];
  return (low + high) / 2;
}
