import type { Mac } from '../protocol/mac.ts';
import type { OptionDescriptor, Role } from './descriptor.ts';
import { ACCESS_OPTIONS } from './schema/access.ts';
import { APP_OPTIONS } from './schema/app.ts';
import { CONNECTOR_OPTIONS } from './schema/connector.ts';
import { GENERAL_OPTIONS } from './schema/general.ts';
import { LIMIT_OPTIONS } from './schema/limits.ts';
import { LINK_OPTIONS } from './schema/link.ts';
import { ROUTER_OPTIONS } from './schema/router.ts';

/**
 * The one schema of options. Flags, environment variables, `.env`, defaults, `--help`, `--print-config`, `.env.example`
 * and `docs/configuration.md` are all made from it. The order is the order in which they are shown.
 */
export const OPTIONS = {
  ...ROUTER_OPTIONS,
  ...LIMIT_OPTIONS,
  ...CONNECTOR_OPTIONS,
  ...LINK_OPTIONS,
  ...ACCESS_OPTIONS,
  ...APP_OPTIONS,
  ...GENERAL_OPTIONS,
} as const satisfies Readonly<Record<string, OptionDescriptor>>;

type Schema = typeof OPTIONS;

/** The name of an option, as its flag has it after the two hyphens. */
export type OptionName = keyof Schema;

/** The options of one role, in the order of the schema. */
export function optionsOf(role: Role): [OptionName, OptionDescriptor][] {
  const all = Object.entries(OPTIONS) as [OptionName, OptionDescriptor][];
  return all.filter(([, option]) => option.roles.includes(role));
}

type Camel<Name extends string> = Name extends `${infer Head}-${infer Tail}`
  ? `${Head}${Capitalize<Camel<Tail>>}`
  : Name;
type KeyOf<Name extends OptionName> = Schema[Name]['kind'] extends 'duration'
  ? `${Camel<Name>}Ms`
  : Schema[Name]['kind'] extends 'bytes'
    ? `${Camel<Name>}Bytes`
    : Camel<Name>;

interface ValueOfKind {
  string: string;
  integer: number;
  bytes: number;
  duration: number;
  boolean: boolean;
  url: URL;
  proxy: URL | 'none';
  mac: Mac;
  path: string;
  list: readonly string[];
  origins: readonly string[];
  ranges: readonly string[];
  map: Readonly<Record<string, string>>;
}
type ValueOf<D extends OptionDescriptor> = D extends { readonly values: readonly (infer Value)[] }
  ? Value
  : D['kind'] extends keyof ValueOfKind
    ? ValueOfKind[D['kind']]
    : never;

type NameFor<R extends Role> = {
  [Name in OptionName]: R extends Schema[Name]['roles'][number] ? Name : never;
}[OptionName];
type AlwaysThere<Name extends OptionName, R extends Role> = Schema[Name] extends { readonly canBeOff: true }
  ? false
  : Schema[Name] extends
        | { readonly default: string }
        | { readonly derive: unknown }
        | { readonly requiredFor: readonly R[] }
        | { readonly kind: 'list' | 'origins' | 'ranges' | 'map' }
    ? true
    : false;

/** The typed configuration of a role: what has a default or is required is always there, the rest only when given. */
export type Config<R extends Role> = {
  readonly [Name in NameFor<R> as AlwaysThere<Name, R> extends true ? KeyOf<Name> : never]: ValueOf<Schema[Name]>;
} & {
  readonly [Name in NameFor<R> as AlwaysThere<Name, R> extends true ? never : KeyOf<Name>]?: ValueOf<Schema[Name]>;
};
