import type { DatasetInfo } from '../../index.ts';
import { addOptions } from '../flags.ts';
import type { CommandContext } from '../io.ts';
import { type AppCommand, addMacArgument, COMMON_OPTIONS } from './arguments.ts';
import { escapeForTerminal } from '../escape.ts';
import { formatDuration, formatTime } from './format.ts';
import { print } from './output.ts';
import { runSession, type Session } from './session.ts';

interface DatasetsArguments {
  readonly mac: string;
  readonly glob?: string | undefined;
  readonly prefix?: string | undefined;
  readonly long?: boolean | undefined;
}

/** `relay app datasets`: what a connector offers. */
export function datasetsCommand(context: CommandContext): AppCommand<DatasetsArguments> {
  return {
    command: 'datasets <mac> [glob]',
    describe: 'List the datasets that a connector offers, a name a line',
    builder: (yargs) =>
      addOptions(addMacArgument(yargs, 'glob'), 'app', {
        names: [...COMMON_OPTIONS, 'min-age', 'json'],
        completing: context.completing,
      })
        .positional('glob', { describe: 'Only names that match; * stops at /, ** does not', type: 'string' })
        .option('prefix', { nargs: 1, string: true, group: 'Output:', describe: 'Only names that begin with this' })
        .option('long', { alias: 'l', boolean: true, group: 'Output:', describe: 'Size and time of change as well' })
        .usage('$0 app datasets <mac> [glob] [options]')
        .example("$0 app datasets cc-28-aa-01-02-03 '2026/**/*.csv' -l", ''),
    handler: (args) => runSession(context, args, { mac: args.mac }, (session) => listDatasets(session, args)),
  };
}

async function listDatasets(session: Session, { mac, glob, prefix, long = false }: DatasetsArguments): Promise<void> {
  const { client, config, signal, io } = session;
  const shows = io.stdout.isTTY === true ? escapeForTerminal : (name: string) => name;
  const toText = config.json
    ? (dataset: DatasetInfo, index: number) => `${index === 0 ? '' : ','}\n${JSON.stringify(dataset)}`
    : (dataset: DatasetInfo) => `${long ? toLongPrefix(dataset) : ''}${shows(dataset.name)}\n`;
  let printed = 0;
  await session.retrying(
    async () => {
      let head = config.json ? '{"datasets":[' : '';
      for await (const dataset of client.datasets(mac, { prefix, glob, minAgeMs: config.minAgeMs, signal })) {
        await print(io, head + toText(dataset, printed), signal);
        head = '';
        printed += 1;
      }
      if (config.json) await print(io, `${head}]}\n`, signal);
    },
    () => printed === 0,
  );
  if (printed === 0 && !config.json) {
    const isAll = glob === undefined && prefix === undefined;
    const what = config.minAgeMs > 0 ? `no dataset unchanged for ${formatDuration(config.minAgeMs)}` : 'no dataset';
    session.note(isAll ? `the connector offers ${what}` : `${what} matches ${glob ?? `${prefix}…`}`);
  }
}

/** Columns of fixed width, since the names come page by page. */
function toLongPrefix({ size, mtime }: DatasetInfo): string {
  const time = mtime === undefined ? '-' : formatTime(new Date(mtime));
  return `${String(size).padStart(15)}  ${time.padEnd(20)}  `;
}
