import type { ConnectorInfo } from '../../index.ts';
import { addOptions } from '../flags.ts';
import type { CommandContext } from '../io.ts';
import { type AppCommand, COMMON_OPTIONS } from './arguments.ts';
import { escapeForTerminal } from '../escape.ts';
import { formatSince, formatTable } from './format.ts';
import { print } from './output.ts';
import { runSession, type Session } from './session.ts';

/** `relay app connectors`: who is or was connected. */
export function connectorsCommand(context: CommandContext): AppCommand<object> {
  return {
    command: 'connectors',
    describe: 'List the connectors that the router knows',
    builder: (yargs) =>
      addOptions(yargs, 'app', { names: [...COMMON_OPTIONS, 'json'], completing: context.completing })
        .usage('$0 app connectors [options]')
        .example('$0 app connectors --json', ''),
    handler: (args) => runSession(context, args, {}, listConnectors),
  };
}

async function listConnectors({ client, config, io, signal, note, retrying }: Session): Promise<void> {
  const connectors = await retrying(async () => {
    const all: ConnectorInfo[] = [];
    for await (const connector of client.connectors({ signal })) all.push(connector);
    return all;
  });
  if (config.json) return print(io, `${JSON.stringify({ connectors })}\n`, signal);
  if (connectors.length === 0) return note('no connector has been connected to this router yet');
  const now = new Date();
  const rows = connectors.map((connector) => toRow(connector, now).map((cell) => escapeForTerminal(cell)));
  return print(io, formatTable([['MAC', 'STATE', 'LINK', 'VERSION', 'LAST SEEN', 'NAME', 'LABELS'], ...rows]), signal);
}

function toRow({ mac, state, link, version, last_seen: lastSeen, name, labels }: ConnectorInfo, now: Date): string[] {
  const pairs = Object.entries(labels).map(([key, value]) => `${key}=${value}`);
  const seen = state === 'online' ? 'now' : formatSince(lastSeen, now);
  return [mac, state, link ?? '-', version ?? '-', seen, name ?? '-', pairs.join(',') || '-'];
}
