/** Who an option is for: the subcommands of `relay`. */
export const ROLES = ['router', 'connector', 'app', 'token'] as const;
export type Role = (typeof ROLES)[number];

/** How the text of an option is read; `list`, `origins`, `ranges` and `map` may be given several times. */
export type Kind =
  | 'string'
  | 'integer'
  | 'bytes'
  | 'duration'
  | 'enum'
  | 'boolean'
  | 'url'
  | 'proxy'
  | 'mac'
  | 'path'
  | 'list'
  | 'origins'
  | 'ranges'
  | 'map';

/** What a computed default may look at. */
export interface DeriveContext {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly home: string;
  readonly isRoot: boolean;
  /** The value of an option that stands earlier in the schema. */
  readonly earlier: (name: string) => unknown;
}

/** One option: everything that flags, environment, help and documents need to know about it. */
export interface OptionDescriptor {
  readonly roles: readonly Role[];
  readonly kind: Kind;
  /** Under which heading help and documents show it. */
  readonly group: string;
  /** One sentence for help and documents, without the final full stop. */
  readonly summary: string;
  /** The default, as one would write it. It does not count in a role that requires the option. */
  readonly default?: string;
  /** A default that depends on the surroundings; `defaultText` describes it. */
  readonly derive?: (context: DeriveContext) => string;
  /** What help shows as the default where it is no plain text. */
  readonly defaultText?: string;
  /** Roles that do not start without it. */
  readonly requiredFor?: readonly Role[];
  /** The values of an `enum`. */
  readonly values?: readonly string[];
  /** Bounds of an `integer`, of `bytes` (in bytes) or of a `duration` (in milliseconds), both included. */
  readonly min?: number;
  readonly max?: number;
  /** A `duration`, or `bytes`, that may also be `off`, which leaves it out of the configuration. */
  readonly canBeOff?: true;
  /** `origins` that may also be `*`, for all. */
  readonly canBeAny?: true;
  /** A one-letter flag. */
  readonly alias?: string;
  /** What stands for the value in help, such as `FILE`. */
  readonly placeholder?: string;
  /** Environment variables of others that count after `RELAY_…`, in this order. */
  readonly alsoEnv?: readonly string[];
  /** Only on the command line: it is about this one run. */
  readonly flagOnly?: true;
  /** Never a flag (other users can read the arguments of a process), and masked wherever it is shown. */
  readonly secret?: true;
}

/** The environment variable of an option: `data-dir` → `RELAY_DATA_DIR`. */
export function envNameOf(name: string): string {
  return `RELAY_${name.toUpperCase().replaceAll('-', '_')}`;
}

/** The member of the configuration that an option fills: `data-dir` → `dataDir`, durations `…Ms`, sizes `…Bytes`. */
export function keyOf(name: string, { kind }: OptionDescriptor): string {
  const camel = name.replace(/-(.)/g, (_, letter: string) => letter.toUpperCase());
  return kind === 'duration' ? `${camel}Ms` : kind === 'bytes' ? `${camel}Bytes` : camel;
}

/** Whether an option may be given more than once, every time adding to it. */
export function isRepeatable({ kind }: OptionDescriptor): boolean {
  return kind === 'list' || kind === 'origins' || kind === 'ranges' || kind === 'map';
}
