import type { Argv } from 'yargs';
import { envNameOf, isRepeatable, type OptionDescriptor, type Role } from '../config/descriptor.ts';
import { OPTIONS, type OptionName, optionsOf } from '../config/options.ts';
import type { Flags } from '../config/resolve.ts';

/** Which options are declared, and how. */
interface AddOptions {
  /** Those that a subcommand has; by default all of the role. The general ones are always there. */
  readonly names?: readonly OptionName[];
  /** See {@link CommandContext}. */
  readonly completing?: boolean;
}

/** Declares options of a role to yargs, with help in groups. */
export function addOptions<T>(yargs: Argv<T>, role: Role, { names, completing = false }: AddOptions = {}): Argv<T> {
  for (const [name, option] of optionsOf(role)) {
    if (option.secret) continue;
    if (names && option.group !== 'General' && !names.includes(name)) continue;
    yargs.option(name, {
      describe: describe(name, option, role),
      group: `${option.group}:`,
      ...(option.kind === 'boolean' ? { boolean: true } : { nargs: 1 }),
      ...(option.alias ? { alias: option.alias } : {}),
      ...defaultText(option, role),
      // Only for completion: bad values are reported by the configuration, in one voice for all sources.
      ...(completing && option.values ? { choices: option.values } : {}),
    });
  }
  return yargs;
}

/** The flags among what yargs parsed, by their own names. */
export function flagsOf(args: Readonly<Record<string, unknown>>): Flags {
  const flags = Object.entries(args).filter(([name]) => Object.hasOwn(OPTIONS, name));
  return Object.fromEntries(flags) as Flags;
}

function describe(name: string, option: OptionDescriptor, role: Role): string {
  const values = option.values ? `: ${option.values.join(', ')}` : '';
  const variable = option.flagOnly ? option.placeholder : envNameOf(name);
  const value = !option.flagOnly && option.placeholder ? `=${option.placeholder}` : '';
  const required = option.requiredFor?.includes(role) ? ' (required)' : '';
  return `${option.summary}${values}${required}${variable ? ` [${variable}${value}]` : ''}`;
}

function defaultText(option: OptionDescriptor, role: Role): { defaultDescription?: string } {
  if (option.requiredFor?.includes(role)) return {};
  const text = option.defaultText ?? (option.default === 'false' ? undefined : option.default);
  return text === undefined || isRepeatable(option) ? {} : { defaultDescription: text };
}
