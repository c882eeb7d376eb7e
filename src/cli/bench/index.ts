import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import type { Argv } from 'yargs';
import { RelayClient } from '../../index.ts';
import { RelayError } from '../../protocol/errors.ts';
import { type AppCommand, COMMON_OPTIONS } from '../app/arguments.ts';
import { print } from '../app/output.ts';
import { runSession, type Session } from '../app/session.ts';
import { makeBinary } from '../demo/datasets.ts';
import { measure, type Measurement, type Pattern, type Target } from '../demo/measure.ts';
import { Processes } from '../demo/processes.ts';
import { addOptions } from '../flags.ts';
import type { CommandContext } from '../io.ts';
import { plot } from './plot.ts';
import { describeMachine, formatResults, PATTERNS, type Report, type Result, summarize } from './report.ts';

const MAC = 'cc-28-aa-01-02-03';
const MIB = 1024 * 1024;

/** What is made and measured where nothing else is named, in bytes. */
const SIZES = [1024, 64 * 1024, MIB, 16 * MIB, 128 * MIB];
const DEFAULT_RUNS = 3;
const MOST_RUNS = 1000;

interface Arguments {
  mac?: string;
  dataset?: string;
  runs: number;
  svg?: string;
}

/** `relay bench`: what the three patterns bring and cost, on this machine, or between a router and a node that run already. */
export function benchCommand(context: CommandContext): AppCommand<Arguments> {
  return {
    command: 'bench [mac] [dataset]',
    describe: 'Measure the three patterns, on this machine or on your own router',
    builder: (yargs) =>
      addOptions(declare(yargs), 'app', { names: [...COMMON_OPTIONS, 'json'], completing: context.completing })
        .usage(
          '$0 bench [mac] [dataset] [options]\n\n' +
            'Without arguments it starts a router and a connector of its own and makes datasets of several sizes. With ' +
            'them it asks the router of --router for that dataset.',
        )
        .example('$0 bench --svg bench.svg', 'on this machine, with a picture')
        .example('$0 bench cc-28-aa-01-02-03 big.bin --router https://relay.example.com', 'your own router and node'),
    handler: (args) => {
      const { mac, dataset, runs } = args;
      if ((mac === undefined) !== (dataset === undefined))
        throw new RelayError('usage', 'bench takes a connector and a dataset, or neither');
      if (!Number.isInteger(runs) || runs < 1 || runs > MOST_RUNS)
        throw new RelayError('usage', `--runs: is a whole number from 1 to ${MOST_RUNS}`);
      const subject = mac !== undefined && dataset !== undefined ? { mac, dataset } : undefined;
      return runSession(context, { ...args }, { ...subject }, async (session) => {
        const results =
          subject === undefined
            ? await measureHere(session, runs)
            : await measureThere(session, subject.mac, subject.dataset, runs);
        await report(session, args.svg, {
          date: new Date().toISOString(),
          version: context.version,
          machine: describeMachine(),
          router: subject === undefined ? null : session.config.router.href,
          results,
        });
      });
    },
  };
}

function declare(yargs: Argv): Argv<Arguments> {
  return yargs
    .positional('mac', { describe: 'MAC address of a connector of the router', type: 'string' })
    .positional('dataset', { describe: 'A dataset of that connector', type: 'string' })
    .option('runs', {
      describe: 'How often each is measured; the table has medians',
      group: 'Bench:',
      type: 'number',
      nargs: 1,
      default: DEFAULT_RUNS,
    })
    .option('svg', {
      describe: 'File to draw rate and memory over size into',
      group: 'Bench:',
      type: 'string',
      nargs: 1,
    }) as Argv<Arguments>;
}

async function report({ io, config, signal, note }: Session, svg: string | undefined, what: Report): Promise<void> {
  if (svg !== undefined) {
    try {
      await writeFile(resolve(io.surroundings.cwd, svg), plot(what));
    } catch (cause) {
      throw new RelayError('output_failed', `cannot write ${svg}: ${(cause as Error).message}`, { cause });
    }
    note(`${svg} has the picture`);
  }
  await print(io, config.json ? `${JSON.stringify(what, undefined, 2)}\n` : formatResults(what.results), signal);
}

/** Router and connector are processes of their own, on loopback, at their defaults. */
async function measureHere({ signal, note }: Session, runs: number): Promise<Result[]> {
  const directory = await mkdtemp(join(tmpdir(), 'relay-bench-'));
  try {
    await using processes = new Processes(directory);
    const dataDir = join(directory, 'data');
    await mkdir(dataDir);
    const most = String(Math.max(...SIZES));
    const state = ['--port', '0', '--state-dir', join(directory, 'state'), '--buffer-max', most];
    const { url } = await processes.startRole(['router', ...state], (line) => typeof line['url'] === 'string');
    const node = ['connector', '--router', String(url), '--mac', MAC, '--data-dir', dataDir];
    await processes.startRole(node, ({ msg }) => msg === 'connected to router');
    const target: Target = { client: new RelayClient({ baseUrl: String(url) }), fetch, signal };
    const results: Result[] = [];
    for (const size of SIZES) {
      signal.throwIfAborted();
      note(`measuring ${size} bytes`);
      const { name, sha256 } = await makeBinary(dataDir, `${size}.bin`, size);
      results.push(...(await measureDataset(target, MAC, name, { runs, sha256 })));
    }
    return results;
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

async function measureThere({ client, fetch, signal, note }: Session, mac: string, dataset: string, runs: number) {
  return measureDataset({ client, fetch, signal }, mac, dataset, { runs, onRefused: note });
}

interface MeasureOptions {
  readonly runs: number;
  /** What the content must be, in hex. Without it, all runs must bring the same. */
  readonly sha256?: string;
  /** Told of a pattern that is not to be had, which is left out. Without it that is an error. */
  readonly onRefused?: (why: string) => void;
}

/** Measures a dataset in each pattern in turn, so that what else happens on the machine falls on all of them. */
async function measureDataset(
  target: Target,
  mac: string,
  name: string,
  { runs, sha256, onRefused }: MeasureOptions,
): Promise<Result[]> {
  const figures = new Map<Pattern, Measurement[]>(PATTERNS.map((pattern) => [pattern, []]));
  let expected = sha256;
  // The first round of each warms up connections and compilers, and does not count.
  for (let run = 0; run <= runs; run++) {
    for (const [pattern, taken] of figures) {
      try {
        const figure = await measure(target, mac, name, pattern);
        expected ??= figure.sha256;
        if (figure.sha256 !== expected)
          throw new RelayError('content_mismatch', `pattern ${pattern} brought other bytes than were expected`);
        if (run > 0) taken.push(figure);
      } catch (thrown) {
        const error = RelayError.from(thrown);
        if (onRefused === undefined || !REFUSALS.has(error.code)) throw error;
        onRefused(`pattern ${pattern} is left out: ${error.message}`);
        figures.delete(pattern);
      }
    }
  }
  return [...figures].map(([pattern, taken]) => summarize(pattern, taken));
}

/** A dataset may be too large for pattern A, and a router may be without a store. */
const REFUSALS: ReadonlySet<string> = new Set(['dataset_too_large', 'offload_unavailable', 'not_supported']);
