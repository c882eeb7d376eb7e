import type { ConnectorInfo } from '../protocol/app.ts';
import { RelayError } from '../protocol/errors.ts';
import { parseMac } from '../protocol/mac.ts';
import { isPlainOnWindows } from '../protocol/windows-name.ts';

const PLACEHOLDERS = ['mac', 'name', 'path'] as const;
type Values = Readonly<Record<(typeof PLACEHOLDERS)[number], string>>;

/** Where the files of several connectors go. */
export interface OutputTemplate {
  /** What stands before the first part with a placeholder. */
  readonly directory: string;
  /** The name of a file, relative to the directory. */
  insert(values: Values): string;
}

const MAX_NAME_BYTES = 100;

/**
 * Reads where files go, such as `/lake/{name}/{path}`: `{mac}` and `{name}` are those of the connector, `{path}` the name of
 * the dataset. Without `{path}` that comes last.
 * @throws {RelayError} usage when it has another placeholder, or none that tells connectors apart.
 */
export function readOutputTemplate(text: string): OutputTemplate {
  for (const [whole, name = ''] of text.matchAll(/\{([^{}]*)\}/g)) {
    if (!PLACEHOLDERS.some((each) => each === name)) {
      throw new RelayError('usage', `${whole} in the output is none of {mac}, {name} and {path}`);
    }
  }
  if (!/\{(?:mac|name)\}/.test(text)) {
    throw new RelayError('usage', `${JSON.stringify(text)} needs {mac} or {name}, to tell connectors apart`);
  }
  const separator = process.platform === 'win32' ? /[\\/]/ : /\//;
  const parts = text.split(separator);
  const first = parts.findIndex((part) => part.includes('{'));
  const pattern = parts.slice(first).filter((part) => part !== '');
  if (pattern.some((part) => part === '.' || part === '..')) {
    throw new RelayError('usage', `${JSON.stringify(text)} climbs behind a placeholder`);
  }
  if (!text.includes('{path}')) pattern.push('{path}');
  const directory = parts.slice(0, first).join('/');
  return {
    directory: first === 0 ? '.' : directory === '' ? '/' : directory,
    insert: (values) =>
      pattern.map((part) => part.replaceAll(/\{(mac|name|path)\}/g, (_, name: keyof Values) => values[name])).join('/'),
  };
}

/**
 * Names for connectors that are one part of a path each: those that they have themselves, made safe. The MAC address stands
 * for one that has none, or that another has as well.
 */
export function nameConnectors(connectors: readonly Pick<ConnectorInfo, 'mac' | 'name'>[]): Map<string, string> {
  const safe = connectors.map(({ mac, name }) => ({ mac, name: toSafeName(name ?? '') }));
  const counts = Map.groupBy(safe, ({ name }) => name?.toLowerCase());
  return new Map(
    safe.map(({ mac, name }) => [mac, name === undefined || counts.get(name.toLowerCase())?.length !== 1 ? mac : name]),
  );
}

/** A name as a file system can hold it, the same on each; undefined where nothing of it is left. */
function toSafeName(text: string): string | undefined {
  const name = text
    .normalize('NFC')
    .trim()
    .replaceAll(/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}<>:"|?*\\/{}]/gu, '_')
    .replace(/^\./, '_');
  const isMac = !(parseMac(name) instanceof RelayError);
  const isSafe = /[\p{L}\p{N}]/u.test(name) && isPlainOnWindows(name) && !isMac;
  return isSafe && new TextEncoder().encode(name).length <= MAX_NAME_BYTES ? name : undefined;
}
