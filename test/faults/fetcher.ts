import type { ChildProcess } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { type RunResult, start, startRelay } from '../support/processes.ts';
import type { AppKind, Pattern } from './plan.ts';

/** A dataset that is being asked for. */
export interface Fetching {
  /** The process that there is now. */
  readonly child: () => ChildProcess;
  readonly result: Promise<Outcome>;
}

/** What came of it. */
export interface Outcome {
  readonly code: number | null;
  readonly stderr: string;
  /** SHA-256 of what arrived, in hexadecimal; only where it claims to be whole (exit 0). */
  readonly digest: string | undefined;
}

/** What is asked for, of whom, and where it goes. */
export interface Subject {
  readonly pattern: Pattern;
  readonly app: AppKind;
  readonly router: string;
  readonly mac: string;
  readonly dataset: string;
  readonly outDir: string;
  readonly waits: boolean;
}

/** Within this time, in ms, everything has to have ended, well or with an error. */
export const DEADLINE_MS = 30_000;

const COMMANDS: Readonly<Record<Pattern, string>> = { A: 'request-sync', B: 'request-stream', C: 'request-offload' };

/** Starts an app. */
export function startFetching(subject: Subject): Fetching {
  return subject.app === 'file' || subject.app === 'stdout' ? startRelayApp(subject) : startCurl(subject);
}

/** The file that a run writes. */
export const targetOf = ({ outDir, dataset }: Pick<Subject, 'outDir' | 'dataset'>): string => join(outDir, dataset);

function startRelayApp(subject: Subject): Fetching {
  const { pattern, app, router, mac, dataset, outDir, waits } = subject;
  const target = targetOf(subject);
  const options = ['--router', router, '--verify', '--stall-timeout', '3s', '--timeout', `${DEADLINE_MS}ms`];
  if (waits) options.push('--wait', '10s');
  if (app === 'file') options.push('-o', target);
  const { child, result } = startRelay(['app', COMMANDS[pattern], ...options, mac, dataset], { cwd: outDir });
  const finish = async (): Promise<Outcome> => {
    const { code, stdout, stderr } = await result;
    if (code !== 0) return { code, stderr, digest: undefined };
    return { code, stderr, digest: app === 'file' ? await digestFile(target) : digestBytes(stdout) };
  };
  return { child: () => child, result: finish() };
}

/** What somebody writes who has nothing but curl. */
function startCurl(subject: Subject): Fetching {
  const { pattern, app, router, mac, dataset } = subject;
  const target = targetOf(subject);
  const post = ['--json', JSON.stringify({ mac, dataset })];
  let child: ChildProcess;
  const head = `${target}.head`;
  const curl = async (args: readonly string[]): Promise<RunResult> => {
    const always = ['--silent', '--show-error', '--fail', '--max-time', String(DEADLINE_MS / 1000), '-D', head];
    const running = start('curl', [...always, ...args]);
    ({ child } = running);
    const result = await running.result;
    // curl 7.88 ends as if an answer whose head is cut were whole and had no body.
    const isCut = result.code === 0 && !(await readFile(head, 'latin1')).endsWith('\r\n\r\n');
    await rm(head, { force: true });
    return isCut ? { ...result, code: 18, stderr: 'the head of the answer broke off' } : result;
  };
  const fetchAll = async (): Promise<RunResult> => {
    if (app === 'curl-get' && pattern === 'B') {
      return curl(['-o', target, `${router}/connectors/${mac}/datasets/${dataset}`]);
    }
    const url = `${router}/datasets/${COMMANDS[pattern]}`;
    if (pattern === 'A') return curl([...post, '-H', 'Accept: application/octet-stream', '-o', target, url]);
    if (pattern === 'B') return curl([...post, '-o', target, url]);
    const answer = await curl([...post, url]);
    if (answer.code !== 0) return answer;
    const { download_url: download } = JSON.parse(answer.stdout.toString()) as { download_url: string };
    return curl(['-o', target, download]);
  };
  const finish = async (): Promise<Outcome> => {
    const { code, stderr } = await fetchAll();
    return { code, stderr, digest: code === 0 ? await digestFile(target) : undefined };
  };
  const result = finish();
  return { child: () => child, result };
}

const digestBytes = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');

async function digestFile(path: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(path), hash);
  return hash.digest('hex');
}
