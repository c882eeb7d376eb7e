import type { CommandModule } from 'yargs';
import type { Config } from '../config/options.ts';
import { resolveConfig } from '../config/resolve.ts';
import { RelayError } from '../protocol/errors.ts';
import { type Mac, parseMac } from '../protocol/mac.ts';
import { ANY_MAC, type TokenRole } from '../protocol/token.ts';
import { findTokenGlobProblem } from '../protocol/token-glob.ts';
import { secretsSource } from './credentials.ts';
import { addOptions, flagsOf } from './flags.ts';
import type { CommandContext } from './io.ts';

/** `relay token …`: the tokens that a router with a secret asks for. */
export function tokenCommand(context: CommandContext): CommandModule {
  return {
    command: 'token',
    describe: 'Make the tokens that a router with a secret asks for',
    builder: (yargs) =>
      yargs
        .usage('$0 token <command> [options]')
        .command(createCommand(context))
        .demandCommand(1, 'a command of token is missing: create'),
    // The command above always takes its place.
    handler: () => undefined,
  };
}

function createCommand({ io, completing }: CommandContext): CommandModule {
  return {
    command: 'create',
    describe: 'Print a new token; it is the last line of standard output',
    builder: (yargs) =>
      addOptions(yargs.usage('$0 token create --role ROLE --mac MAC [--dataset GLOB] [options]'), 'token', {
        completing,
      })
        .option('mac', {
          describe: "Connector that it covers, '*' for all; may be repeated, but is exactly one for a connector",
          group: 'Token:',
          nargs: 1,
        })
        .example('$0 token create --role connector --mac cc-28-aa-01-02-03 --expires 365d', '')
        .example("$0 token create --role app --mac '*' --dataset 'reports/**'", ''),
    handler: async (args) => {
      const { values: config, sources } = resolveConfig('token', flagsOf(args), io.surroundings);
      const wish = readWish(args, config);
      const readSecrets = secretsSource({
        text: config.secret,
        file: config.secretFile,
        fileSource: sources['secretFile'],
      });
      const secret = readSecrets?.()[0];
      if (secret === undefined) {
        throw new RelayError(
          'usage',
          "the router's secret is needed to sign with: give --secret-file, or set RELAY_SECRET",
        );
      }
      const { signToken } = await import('../router/access/token.ts');
      const token = await signToken(wish, secret);
      const until = wish.exp === undefined ? 'never expires' : `expires ${new Date(wish.exp * 1000).toISOString()}`;
      const datasets = wish.datasets === undefined ? '' : `, datasets ${wish.datasets.join(' ')}`;
      io.stderr.write(
        `relay: a token for the role ${wish.role}, connectors ${wish.macs.join(' ')}${datasets}; it ${until}\n`,
      );
      io.stdout.write(`${token}\n`);
    },
  };
}

interface Wish {
  readonly role: TokenRole;
  readonly macs: (Mac | typeof ANY_MAC)[];
  readonly datasets?: string[];
  readonly exp?: number;
}

function readWish(
  args: Readonly<Record<string, unknown>>,
  { role, dataset: datasets, expiresMs }: Config<'token'>,
): Wish {
  const macs = textsOf(args, 'mac').map((text) => {
    if (text === ANY_MAC) return ANY_MAC;
    const mac = parseMac(text);
    if (mac instanceof RelayError) throw new RelayError('usage', `--mac: ${mac.message}`);
    return mac;
  });
  if (macs.length === 0) throw new RelayError('usage', "--mac is missing: which connectors does it cover? '*' for all");
  if (role === 'connector' && macs.length > 1) {
    throw new RelayError('usage', 'a token for a connector has exactly one --mac: make one for each node');
  }
  if (role === 'app' && datasets.length === 0) {
    throw new RelayError('usage', "--dataset is missing: which datasets may it read? '**' for all");
  }
  if (role === 'connector' && datasets.length > 0) {
    throw new RelayError('usage', '--dataset says what may be read, and a connector reads nothing through the router');
  }
  for (const dataset of datasets) {
    const problem = findTokenGlobProblem(dataset);
    if (problem !== undefined) throw new RelayError('usage', `--dataset ${JSON.stringify(dataset)}: ${problem}`);
  }
  return {
    role,
    macs,
    ...(datasets.length > 0 && { datasets: [...datasets] }),
    ...(expiresMs !== undefined && { exp: Math.floor((Date.now() + expiresMs) / 1000) }),
  };
}

const textsOf = (args: Readonly<Record<string, unknown>>, name: string): string[] =>
  args[name] === undefined ? [] : [args[name]].flat().map(String);
