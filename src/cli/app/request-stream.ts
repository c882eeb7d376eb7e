import { RelayError } from '../../index.ts';
import { addOptions } from '../flags.ts';
import type { CommandContext } from '../io.ts';
import { type AppCommand, addDatasetArguments, RESUMABLE_OPTIONS } from './arguments.ts';
import { formatBytes } from './format.ts';
import { Output } from './output.ts';
import { runSession, type Session } from './session.ts';

/** `relay app request-stream`: pattern B, the bytes as they come. */
export function requestStreamCommand(context: CommandContext): AppCommand<{ mac: string; dataset: string }> {
  return {
    command: 'request-stream <mac> <dataset>',
    describe: 'Get a dataset as a stream (pattern B): for files of any size',
    builder: (yargs) =>
      addOptions(addDatasetArguments(yargs), 'app', {
        names: [...RESUMABLE_OPTIONS, 'max-parallel', 'json'],
        completing: context.completing,
      })
        .usage('$0 app request-stream <mac> <dataset> [options]')
        .hide('json')
        .example('$0 app request-stream cc-28-aa-01-02-03 sales.csv | head', '')
        .example('$0 app request-stream cc-28-aa-01-02-03 sales.csv -o sales.csv', ''),
    handler: (args) => runSession(context, args, args, (session) => requestStream(session, args.mac, args.dataset)),
  };
}

async function requestStream(session: Session, mac: string, dataset: string): Promise<void> {
  const { client, config, signal } = session;
  if (config.json) {
    throw new RelayError('usage', 'request-stream answers with bytes, there is no JSON to print; request-sync has it');
  }
  const output = new Output(session);
  await output.prepare();
  const onInterruption = (error: RelayError, offset: number): void =>
    session.note(`${error.message}; going on after ${formatBytes(offset)}`);
  await session.retrying(
    () =>
      output.deliver(
        (known) =>
          client.requestStream(mac, dataset, {
            signal,
            known,
            onInterruption,
            onChange: config.onChange,
            minAgeMs: config.minAgeMs,
            parallel: config.maxParallel,
          }),
        client.datasetUrl(mac, dataset),
      ),
    () => output.mayTryAgain,
  );
}
