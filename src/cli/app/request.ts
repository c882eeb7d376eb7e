import { stat } from 'node:fs/promises';
import { resolve, sep } from 'node:path';
import { type Known, openByWays, RelayError, tryWays, Ways } from '../../index.ts';
import { readLiteralName } from '../../protocol/glob.ts';
import { addOptions } from '../flags.ts';
import type { CommandContext } from '../io.ts';
import { type AppCommand, addSelectionArguments, RESUMABLE_OPTIONS } from './arguments.ts';
import { formatBytes } from './format.ts';
import { Output } from './output.ts';
import { requestMany } from './request-many.ts';
import { runSession, type Session } from './session.ts';

/** `relay app request`: a dataset by whichever pattern fits, or many of them. */
export function requestCommand(context: CommandContext): AppCommand<{ mac: string; dataset: string }> {
  return {
    command: 'request <mac> <dataset>',
    describe: 'Get a dataset by whichever pattern fits, or all that match a pattern, of one connector or many',
    builder: (yargs) =>
      addOptions(addSelectionArguments(yargs), 'app', {
        names: [
          ...RESUMABLE_OPTIONS,
          'max-parallel',
          'json',
          'verbose',
          'connectors',
          'parallel',
          'checksum',
          'dry-run',
          'report',
        ],
        completing: context.completing,
      })
        .usage("$0 app request <mac> <dataset> [options]\n$0 app request <mac> 'GLOB' -o DIR [options]")
        .hide('json')
        .example('$0 app request cc-28-aa-01-02-03 sales.csv -o sales.csv', '')
        .example("$0 app request cc-28-aa-01-02-03 '2026/**/*.csv' -o copies/", 'what is there already is not fetched')
        .example("$0 app request --connectors site=oslo '**' -o '/lake/{name}/{path}' --report r.ndjson", ''),
    handler: (args) => {
      const { mac, dataset } = args;
      if (args['connectors'] !== undefined) {
        return runSession(context, args, {}, (session) => requestMany(session, mac, dataset));
      }
      const name = readLiteralName(dataset);
      if (name !== undefined) {
        return runSession(context, args, { mac, dataset: name }, (session) => requestOne(session, mac, name));
      }
      return runSession(context, args, { mac }, async (session) =>
        (await isNameOfOne(session, mac, dataset))
          ? requestOne(session, mac, dataset)
          : requestMany(session, mac, dataset),
      );
    },
  };
}

/**
 * Whether a pattern is to be taken for a name: there is a dataset of exactly that name, and nothing on the command line is for
 * many. Only where that is left open it takes a question: a run into the directory of the last one asks none.
 */
async function isNameOfOne(session: Session, mac: string, pattern: string): Promise<boolean> {
  const { client, config, io, signal } = session;
  const { output, checksum, dryRun, report, json } = config;
  if (checksum || dryRun || json || report !== undefined) return false;
  if (output !== undefined && (await isDirectory(io.surroundings.cwd, output))) return false;
  try {
    const { size } = await session.retrying(() => client.stat(mac, pattern, { signal }));
    // A connector that cannot be asked is answered for without a size, whatever the name.
    if (size === undefined) return false;
  } catch (error) {
    signal.throwIfAborted();
    if (!(error instanceof RelayError) || error.retryable) throw error;
    return false;
  }
  if (config.verbose) session.note(`there is a dataset ${JSON.stringify(pattern)}, so that is no pattern here`);
  return true;
}

/** Whether an output is a directory, or is to be one. */
async function isDirectory(cwd: string, output: string): Promise<boolean> {
  if (output.endsWith('/') || output.endsWith(sep)) return true;
  const found = await stat(resolve(cwd, output)).catch(() => undefined);
  return found?.isDirectory() ?? false;
}

async function requestOne(session: Session, mac: string, dataset: string): Promise<void> {
  const { client, config, fetch, signal, note } = session;
  if (config.json) {
    throw new RelayError('usage', 'request answers with bytes, there is no JSON to print; request-sync has it');
  }
  if (config.checksum || config.dryRun || config.report !== undefined) {
    throw new RelayError('usage', '--checksum, --dry-run and --report are for many datasets: name them by a pattern');
  }
  const output = new Output(session);
  await output.prepare();
  const mayRetry = (): boolean => output.mayTryAgain;
  const onInterruption = (error: RelayError, offset: number): void =>
    note(`${error.message}; going on after ${formatBytes(offset)}`);
  const { stallTimeoutMs, onChange, minAgeMs, maxParallel: parallel } = config;
  const how = { signal, fetch, stallTimeoutMs, onChange, minAgeMs, parallel, onInterruption };
  let isSpoilt = false;
  const ways = new Ways({}, ({ pattern, reason }) => {
    if (config.verbose) note(`request-${pattern}: ${reason}`);
  });
  const deliver = async (): Promise<void> => {
    const open = (known: Known | undefined) =>
      openByWays(client, { mac, dataset }, ways, { ...how, known, fresh: isSpoilt });
    await output.deliver(open, client.datasetUrl(mac, dataset)).catch((error: unknown) => {
      isSpoilt ||= error instanceof RelayError && error.code === 'content_mismatch';
      throw error;
    });
  };
  await session.retrying(() => tryWays(ways, deliver, { signal, mayRetry }), mayRetry);
}
