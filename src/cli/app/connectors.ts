import { type ConnectorInfo, RelayError } from '../../index.ts';
import { addOptions } from '../flags.ts';
import type { CommandContext } from '../io.ts';
import { type AppCommand, COMMON_OPTIONS } from './arguments.ts';
import { escapeForTerminal } from '../escape.ts';
import { formatSince, formatTable } from './format.ts';
import { print } from './output.ts';
import { runSession, type Session } from './session.ts';

interface ConnectorsArguments {
  readonly label?: string | readonly string[] | undefined;
  readonly state?: string | undefined;
}

/** `relay app connectors`: who is or was connected. */
export function connectorsCommand(context: CommandContext): AppCommand<ConnectorsArguments> {
  return {
    command: 'connectors',
    describe: 'List the connectors that the router knows',
    builder: (yargs) =>
      addOptions(yargs, 'app', { names: [...COMMON_OPTIONS, 'json'], completing: context.completing })
        .option('label', {
          nargs: 1,
          string: true,
          group: 'Selection:',
          describe: 'Only those with this label; may be repeated, and then all must match [KEY=VALUE]',
        })
        .option('state', {
          nargs: 1,
          string: true,
          group: 'Selection:',
          describe: 'Only those that are there, or those that are not: online, offline',
          ...(context.completing && { choices: STATES }),
        })
        .usage('$0 app connectors [options]')
        .example('$0 app connectors --json', '')
        .example('$0 app connectors --label site=oslo --state offline', ''),
    handler: (args) => runSession(context, args, {}, (session) => listConnectors(session, args)),
  };
}

const STATES = ['online', 'offline'] as const;

async function listConnectors(session: Session, args: ConnectorsArguments): Promise<void> {
  const { client, config, io, signal, note, retrying } = session;
  const labels = Object.fromEntries([args.label ?? []].flat().map((text) => parseLabel(text)));
  const state = STATES.find((each) => each === args.state);
  if (args.state !== state)
    throw new RelayError('usage', `--state: ${JSON.stringify(args.state)} is neither online nor offline`);
  const connectors = await retrying(async () => {
    const all: ConnectorInfo[] = [];
    for await (const connector of client.connectors({ labels, state, signal })) all.push(connector);
    return all;
  });
  if (config.json) return print(io, `${JSON.stringify({ connectors })}\n`, signal);
  if (connectors.length === 0) {
    const isAny = state === undefined && Object.keys(labels).length === 0;
    return note(isAny ? 'no connector has been connected to this router yet' : 'no connector is like that');
  }
  const now = new Date();
  const rows = connectors.map((connector) => toRow(connector, now).map((cell) => escapeForTerminal(cell)));
  return print(io, formatTable([['MAC', 'STATE', 'LINK', 'VERSION', 'LAST SEEN', 'NAME', 'LABELS'], ...rows]), signal);
}

/** @throws {RelayError} usage when it is not KEY=VALUE. */
export function parseLabel(text: string): [string, string] {
  const at = text.indexOf('=');
  if (at < 1) throw new RelayError('usage', `--label: ${JSON.stringify(text)} is not KEY=VALUE`);
  return [text.slice(0, at), text.slice(at + 1)];
}

function toRow({ mac, state, link, version, last_seen: lastSeen, name, labels }: ConnectorInfo, now: Date): string[] {
  const pairs = Object.entries(labels).map(([key, value]) => `${key}=${value}`);
  const seen = state === 'online' ? 'now' : formatSince(lastSeen, now);
  return [mac, state, link ?? '-', version ?? '-', seen, name ?? '-', pairs.join(',') || '-'];
}
