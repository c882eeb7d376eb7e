import type { Argv, CommandModule } from 'yargs';
import type { OptionName } from '../../config/options.ts';
import { RelayError } from '../../index.ts';

/** A command of `relay app`, with its arguments in `command`, such as `stat <mac> <dataset>`. */
export type AppCommand<Args> = CommandModule<object, Args> & { readonly command: string };

/** Options of every command of an app. */
export const COMMON_OPTIONS = [
  'router',
  'ca',
  'token-file',
  'allow-http',
  'proxy',
  'timeout',
  'retry',
  'wait',
  'quiet',
] as const satisfies OptionName[];

/** Options of those that transfer a dataset. */
export const TRANSFER_OPTIONS = [
  ...COMMON_OPTIONS,
  'output',
  'verify',
  'on-change',
  'min-age',
  'stall-timeout',
  'progress',
] as const satisfies OptionName[];

/** Options of those that can go on with what an earlier run has left. */
export const RESUMABLE_OPTIONS = [...TRANSFER_OPTIONS, 'resume'] as const satisfies OptionName[];

/** Declares `<mac> <dataset>`. */
export function addDatasetArguments<T>(yargs: Argv<T>): Argv<T & { mac: string; dataset: string }> {
  return completeArguments(declareMac(yargs), ['mac', 'dataset']).positional('dataset', {
    describe: 'Path of the dataset, relative to the data directory of the connector',
    type: 'string',
    demandOption: true,
  });
}

/** Declares `<mac>` and, if it has a name, one more argument that may be left out. */
export function addMacArgument<T>(yargs: Argv<T>, optional: string): Argv<T & { mac: string }> {
  return completeArguments(declareMac(yargs), ['mac'], optional);
}

/** Declares `<mac> <dataset>`; `--connectors` takes the place of the first, and is then its value. */
export function addSelectionArguments<T>(yargs: Argv<T>): Argv<T & { mac: string; dataset: string }> {
  const shifted = yargs.middleware((args: Record<string, unknown>) => {
    // yargs may come by here more than once.
    if (args['connectors'] === undefined || args['connectors'] === args['mac'] || args['help'] === true) return;
    if (args['dataset'] !== undefined)
      throw new RelayError('usage', '--connectors takes the place of <mac>: only a pattern for datasets goes with it');
    args['dataset'] = args['mac'];
    args['mac'] = args['connectors'];
  }, true);
  return addDatasetArguments(shifted);
}

function declareMac<T>(yargs: Argv<T>): Argv<T & { mac: string }> {
  return yargs.positional('mac', {
    describe: 'MAC address of the connector, in any usual spelling',
    type: 'string',
    demandOption: true,
  });
}

/** A command without required arguments: yargs does not count those after `--`, so they are checked later. */
export const relax = (command: string): string => command.replaceAll(/<(\w+)>/g, '[$1]');

/** Fills arguments from what stands after `--`, which yargs leaves aside: a dataset's name may begin with a hyphen. */
function completeArguments<T>(yargs: Argv<T>, required: readonly string[], ...optional: string[]): Argv<T> {
  return yargs.middleware((args: Record<string, unknown>) => {
    if (args['help'] === true) return;
    const rest = Array.isArray(args['--']) ? args['--'].map(String) : [];
    for (const name of [...required, ...optional]) {
      if (args[name] === undefined && rest.length > 0) args[name] = rest.shift();
    }
    if (rest.length > 0) throw new RelayError('usage', `${JSON.stringify(rest[0])} is not expected here`);
    const missing = required.filter((name) => args[name] === undefined || args[name] === '');
    if (missing.length > 0)
      throw new RelayError('usage', `${missing.map((name) => `<${name}>`).join(' and ')} missing`);
    delete args['--'];
  }, true);
}
