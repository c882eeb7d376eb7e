import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { describeMachine } from './machine.ts';
import { Processes, removeAtEnd, stopAllOnSignals } from './processes.ts';
import { formatMachine, formatTable, type Report, writeReport } from './report.ts';
import type { Line, Scenario } from './scenario.ts';
import { buffering } from './scenarios/buffering.ts';
import { far } from './scenarios/far.ts';
import { farApp } from './scenarios/far-app.ts';
import { firstByte } from './scenarios/first-byte.ts';
import { idle } from './scenarios/idle.ts';
import { many } from './scenarios/many.ts';
import { memory } from './scenarios/memory.ts';
import { near } from './scenarios/near.ts';
import { offload } from './scenarios/offload.ts';
import { small } from './scenarios/small.ts';
import { start } from './scenarios/start.ts';
import { thin } from './scenarios/thin.ts';
import { tls } from './scenarios/tls.ts';
import { tunnels } from './scenarios/tunnels.ts';
import { verified } from './scenarios/verified.ts';

const ROOT = join(import.meta.dirname, '..');
const SCENARIOS: readonly Scenario[] = [
  near,
  tunnels,
  firstByte,
  small,
  memory,
  tls,
  verified,
  buffering,
  start,
  many,
  idle,
  offload,
  far,
  farApp,
  thin,
];

const USAGE = `node bench/run.ts [SCENARIO …] [options]

Measures relay beside its rivals on this machine and prints a table.

Scenarios: ${SCENARIOS.map(({ name }) => name).join(', ')}; all of them where none is named.

  --runs N     how often each side is measured, in turn (default 5)
  --quick      small sizes, to try out the benchmark itself: the figures mean little
  --json DIR   where the figures go as JSON (default bench/results)
  --far FILE   program that makes a far network (default ../shared/net/far)
  --help
`;

class UsageError extends Error {}

function readArguments(): {
  chosen: readonly Scenario[];
  runs: number;
  isQuick: boolean;
  json: string;
  farProgram: string;
  wantsHelp: boolean;
} {
  const { values, positionals } = parseArguments();
  const unknown = positionals.find((name) => SCENARIOS.every((scenario) => scenario.name !== name));
  if (unknown !== undefined) throw new UsageError(`there is no scenario ${unknown}`);
  const runs = Number(values.runs);
  if (!Number.isInteger(runs) || runs < 1) throw new UsageError('--runs takes a whole number from 1');
  return {
    chosen: SCENARIOS.filter(({ name }) => positionals.length === 0 || positionals.includes(name)),
    runs,
    isQuick: values.quick,
    json: resolve(values.json ?? join(ROOT, 'bench/results')),
    farProgram: resolve(values.far ?? join(ROOT, '../shared/net/far')),
    wantsHelp: values.help,
  };
}

function parseArguments() {
  try {
    return parseArgs({
      allowPositionals: true,
      options: {
        runs: { type: 'string', default: '5' },
        quick: { type: 'boolean', default: false },
        json: { type: 'string' },
        far: { type: 'string' },
        help: { type: 'boolean', default: false },
      },
    });
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

async function main(): Promise<void> {
  const { chosen, json, wantsHelp, ...options } = readArguments();
  if (wantsHelp) {
    process.stdout.write(USAGE);
    return;
  }
  if (process.platform !== 'linux') throw new UsageError('the benchmark reads /proc, so it runs on Linux only');
  build();
  stopAllOnSignals();
  const directory = makeDirectory();
  const machine = describeMachine();
  say(formatMachine(machine));
  const lines: (Line & { scenario: string })[] = [];
  const failures: Record<string, string> = {};
  for (const scenario of chosen) {
    say(`${scenario.name} …`);
    try {
      const measured = await measure(scenario, { ...options, say, directory: join(directory, scenario.name) });
      say(formatTable(measured));
      lines.push(...measured.map((line) => ({ ...line, scenario: scenario.name })));
    } catch (error) {
      failures[scenario.name] = (error as Error).message;
      say(`${scenario.name} failed: ${(error as Error).stack}`);
      process.exitCode = 1;
    }
  }
  const { runs, isQuick } = options;
  const report: Report = { date: new Date().toISOString(), machine, runs, isQuick, lines, failures };
  process.stdout.write(`${formatMachine(machine)}\n\n${formatTable(lines)}\n`);
  for (const [name, reason] of Object.entries(failures)) process.stdout.write(`${name} failed: ${reason}\n`);
  if (isQuick) process.stdout.write('Small sizes (--quick): no figures to compare with the targets.\n');
  say(`written to ${await writeReport(json, report)}`);
}

const say = (text: string): void => void process.stderr.write(`${text}\n`);

async function measure(
  scenario: Scenario,
  options: Omit<Parameters<Scenario['run']>[0], 'processes'>,
): Promise<Line[]> {
  await mkdir(options.directory);
  try {
    await using processes = new Processes(options.directory);
    return await Promise.race([scenario.run({ ...options, processes }), processes.failed]);
  } finally {
    await rm(options.directory, { recursive: true, force: true });
  }
}

/** The build is what runs, so it must be that of these sources. */
function build(): void {
  const script = join(ROOT, 'scripts/setup.mjs');
  const { status } = spawnSync(process.execPath, [script, '--build-only'], { stdio: ['ignore', 2, 2] });
  if (status !== 0) throw new Error('the build failed, see above');
}

/** A directory in memory, so that no disk is measured; also for the temporary files of the servers. */
function makeDirectory(): string {
  const parent = existsSync('/dev/shm') ? '/dev/shm' : tmpdir();
  // What a run left that was killed, since it is memory.
  for (const name of readdirSync(parent)) {
    const pid = /^relay-bench-(\d+)-/.exec(name)?.[1];
    if (pid !== undefined && !existsSync(`/proc/${pid}`)) rmSync(join(parent, name), { recursive: true, force: true });
  }
  const directory = mkdtempSync(join(parent, `relay-bench-${process.pid}-`));
  removeAtEnd(directory);
  process.env['TMPDIR'] = directory;
  return directory;
}

try {
  await main();
} catch (error) {
  process.stderr.write(error instanceof UsageError ? `${error.message}\n\n${USAGE}` : `${(error as Error).stack}\n`);
  process.exitCode = error instanceof UsageError ? 2 : 1;
}
