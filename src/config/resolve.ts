import { homedir } from 'node:os';
import { RelayError } from '../protocol/errors.ts';
import { type DeriveContext, envNameOf, isRepeatable, keyOf, type OptionDescriptor, type Role } from './descriptor.ts';
import { type EnvFile, readEnvFile } from './env-file.ts';
import { type Config, OPTIONS, optionsOf } from './options.ts';
import { checkTogether } from './rules.ts';
import { closest } from './suggest.ts';
import { parseValue, type Source, type Value } from './values.ts';

/** Flags by their name (`data-dir`), as a command line gives them; several of one in an array. */
export type Flags = Readonly<Record<string, string | boolean | readonly (string | boolean)[] | undefined>>;

/** What a configuration is resolved in. */
export interface Surroundings {
  /** The environment; variables of the file for the AWS SDK are added to it. */
  readonly env: Record<string, string | undefined>;
  /** What relative paths start from, and where `.env` is looked for. */
  readonly cwd: string;
  /** Read in place of `.env`; a flag `env-file` goes before it. */
  readonly envFile?: string | undefined;
  readonly home?: string | undefined;
  /** The user, to tell files of others and root apart; undefined on systems without. */
  readonly uid?: number | undefined;
}

/** One option with what it came to. */
export interface ResolvedOption {
  readonly name: string;
  readonly option: OptionDescriptor;
  /** As it was written, or as the default is; empty where there is none. */
  readonly texts: readonly string[];
  readonly value: Value;
  /** Undefined where nothing gave a value. */
  readonly source: Source | undefined;
}

/** All options of a role, before anything is required of them. */
export interface Gathered {
  readonly options: readonly ResolvedOption[];
  readonly envFile: EnvFile | undefined;
  /** What is odd and yet no error, for the log. */
  readonly warnings: readonly string[];
}

/** A role's configuration and where each of its values came from, by the same keys. */
export interface ResolvedConfig<R extends Role> {
  readonly values: Config<R>;
  readonly sources: Readonly<Record<string, Source>>;
  readonly warnings: readonly string[];
}

/**
 * The configuration of a role: flags win over the environment, the environment over the file, the file over defaults.
 * An empty variable counts as none.
 * @throws {RelayError} `usage` for a bad value, one that is missing, or values that do not go together
 */
export function resolveConfig<R extends Role>(role: R, flags: Flags, surroundings: Surroundings): ResolvedConfig<R> {
  const { options, warnings } = gatherOptions(role, flags, surroundings);
  const values: Record<string, Value> = {};
  const sources: Record<string, Source> = {};
  for (const { name, option, value, source } of options) {
    if (source === undefined) {
      if (option.requiredFor?.includes(role)) {
        const variable = option.flagOnly ? '' : ` (or ${envNameOf(name)})`;
        throw new RelayError('usage', `--${name} is missing${variable}: ${option.summary}`);
      }
      continue;
    }
    if (value === undefined) continue;
    values[keyOf(name, option)] = value;
    sources[keyOf(name, option)] = source;
  }
  checkTogether(role, values);
  return { values: values as Config<R>, sources, warnings };
}

/**
 * Finds the value of every option of a role, also where some are missing, as `--print-config` shows them.
 * @throws {RelayError} `usage` for a bad value or an environment file that is not to be trusted
 */
export function gatherOptions(role: Role, flags: Flags, surroundings: Surroundings): Gathered {
  const { env, cwd, home = findHome(), uid = process.geteuid?.() } = surroundings;
  const explicit = [flags['env-file'] ?? surroundings.envFile].flat().at(-1);
  const envFile = readEnvFile(cwd, explicit === undefined ? undefined : String(explicit), uid);
  const values = new Map<string, Value>();
  const context: DeriveContext = { env, home, isRoot: uid === 0, earlier: (name: string) => values.get(name) };
  const options = optionsOf(role).map(([name, option]): ResolvedOption => {
    const found = find(name, option, flags, env, envFile) ?? fallBack(role, option, context);
    const value = found && parseValue(name, option, found.texts, found.source, cwd);
    values.set(name, value);
    return { name, option, texts: found?.texts ?? [], value, source: found?.source };
  });
  exportForSdk(env, envFile);
  return { options, envFile, warnings: unknownVariables(envFile) };
}

interface Found {
  readonly texts: readonly string[];
  readonly source: Source;
}

function find(
  name: string,
  option: OptionDescriptor,
  flags: Flags,
  env: Surroundings['env'],
  envFile: EnvFile | undefined,
): Found | undefined {
  const flag = option.secret ? undefined : flags[name];
  if (flag !== undefined) return { texts: [flag].flat().map(String), source: { from: 'flag' } };
  if (option.flagOnly) return undefined;
  const variables = [envNameOf(name), ...(option.alsoEnv ?? [])];
  for (const variable of variables) {
    const text = env[variable];
    if (text) return { texts: split(option, text), source: { from: 'environment', variable } };
  }
  for (const variable of variables) {
    const text = envFile?.variables[variable];
    if (envFile && text) return { texts: split(option, text), source: { from: 'file', variable, file: envFile.path } };
  }
  return undefined;
}

/** A variable holds all occurrences of a repeatable option, with commas between them. */
function split(option: OptionDescriptor, text: string): string[] {
  return isRepeatable(option) ? text.split(',').map((part) => part.trim()) : [text];
}

function fallBack(role: Role, option: OptionDescriptor, context: DeriveContext): Found | undefined {
  const source: Source = { from: 'default' };
  if (option.requiredFor?.includes(role)) return undefined;
  const text = option.derive?.(context) ?? option.default;
  if (text !== undefined) return { texts: [text], source };
  return isRepeatable(option) ? { texts: [], source } : undefined;
}

/** The AWS SDK reads the environment by itself, and knows nothing of the file. */
function exportForSdk(env: Surroundings['env'], envFile: EnvFile | undefined): void {
  for (const [name, text] of Object.entries(envFile?.variables ?? {})) {
    if (name.startsWith('AWS_') && text !== '') env[name] ||= text;
  }
}

function unknownVariables(envFile: EnvFile | undefined): string[] {
  const known = Object.keys(OPTIONS).map((name) => envNameOf(name));
  return Object.keys(envFile?.variables ?? {})
    .filter((variable) => variable.startsWith('RELAY_') && !known.includes(variable))
    .map((variable) => {
      const guess = closest(variable, known);
      return `${variable} in ${envFile?.path} is not an option of relay${guess ? ` (is ${guess} meant?)` : ''}`;
    });
}

/** The user's home; `/` for a user that the system does not know, as a container's often is. */
function findHome(): string {
  try {
    return homedir();
  } catch {
    return '/';
  }
}
