import { parseValue } from '../../config/values.ts';
import { MAX_SIGNED_SECONDS } from '../../protocol/limits.ts';
import { addOptions } from '../flags.ts';
import type { CommandContext } from '../io.ts';
import { type AppCommand, addDatasetArguments, COMMON_OPTIONS } from './arguments.ts';
import { formatTime } from './format.ts';
import { print } from './output.ts';
import { runSession, type Session } from './session.ts';

interface UrlArguments {
  readonly mac: string;
  readonly dataset: string;
  readonly expires?: string | undefined;
}

/** `relay app url`: a link to a dataset, for who has no token. */
export function urlCommand(context: CommandContext): AppCommand<UrlArguments> {
  return {
    command: 'url <mac> <dataset>',
    describe: 'Print a URL that whoever holds it can download the dataset by, without a token',
    builder: (yargs) =>
      addOptions(addDatasetArguments(yargs), 'app', {
        names: [...COMMON_OPTIONS, 'json'],
        completing: context.completing,
      })
        .option('expires', {
          nargs: 1,
          string: true,
          group: 'Output:',
          describe: 'How long it is good for, at most 7d; never longer than the token',
          defaultDescription: 'as the router has it, 1h',
        })
        .usage('$0 app url <mac> <dataset> [options]')
        .example('$0 app url cc-28-aa-01-02-03 sales.csv --expires 2h', ''),
    handler: (args) => {
      const expiresIn = readExpiry(args.expires);
      return runSession(context, args, args, (session) => printUrl(session, args, expiresIn));
    },
  };
}

async function printUrl(
  session: Session,
  { mac, dataset }: UrlArguments,
  expiresIn: number | undefined,
): Promise<void> {
  const { client, config, io, signal, note, retrying } = session;
  const answer = await retrying(() => client.signedUrl(mac, dataset, { expiresIn, signal }));
  if (config.json) return print(io, `${JSON.stringify(answer)}\n`, signal);
  note(
    answer.expires_at === null
      ? 'this router asks for no token: the URL is not signed, is good for whoever reaches the router, and does not expire'
      : `good for whoever holds it, until ${formatTime(new Date(answer.expires_at))}`,
  );
  await print(io, `${answer.url}\n`, signal);
}

/** Seconds. @throws {RelayError} usage when it is no time, or out of bounds. */
function readExpiry(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const bounds = { min: 1000, max: MAX_SIGNED_SECONDS * 1000 };
  const option = { roles: ['app'], kind: 'duration', group: 'Output', summary: '', ...bounds } as const;
  return Math.floor(Number(parseValue('expires', option, [text].flat(), { from: 'flag' }, '/')) / 1000);
}
