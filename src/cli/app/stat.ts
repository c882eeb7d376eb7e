import { addOptions } from '../flags.ts';
import type { CommandContext } from '../io.ts';
import { type AppCommand, addDatasetArguments, COMMON_OPTIONS } from './arguments.ts';
import { escapeForTerminal } from '../escape.ts';
import { formatBytes, formatTime } from './format.ts';
import { print } from './output.ts';
import { runSession, type Session } from './session.ts';

/** `relay app stat`: what is known of a dataset, without its bytes. */
export function statCommand(context: CommandContext): AppCommand<{ mac: string; dataset: string }> {
  return {
    command: 'stat <mac> <dataset>',
    describe: 'Show size, time of change, type and version of a dataset',
    builder: (yargs) =>
      addOptions(addDatasetArguments(yargs), 'app', {
        names: [...COMMON_OPTIONS, 'min-age', 'json'],
        completing: context.completing,
      })
        .usage('$0 app stat <mac> <dataset> [options]')
        .example('$0 app stat cc-28-aa-01-02-03 sales.csv', ''),
    handler: (args) => runSession(context, args, args, (session) => showStat(session, args.mac, args.dataset)),
  };
}

async function showStat({ client, config, io, signal, retrying }: Session, mac: string, name: string): Promise<void> {
  const { minAgeMs } = config;
  const { size, lastModified, etag, contentType } = await retrying(() => client.stat(mac, name, { signal, minAgeMs }));
  const mtime = lastModified && formatTime(lastModified);
  if (config.json) {
    return print(io, `${JSON.stringify({ name, size, mtime, etag, content_type: contentType })}\n`, signal);
  }
  const facts: [string, string | undefined][] = [
    ['name', name],
    ['size', size === undefined ? undefined : `${size}${size < 1024 ? '' : ` (${formatBytes(size)})`}`],
    ['modified', mtime],
    ['type', contentType],
    ['etag', etag],
  ];
  const lines = facts.map(([key, value]) => `${key}: ${escapeForTerminal(value ?? 'not known')}\n`);
  return print(io, lines.join(''), signal);
}
