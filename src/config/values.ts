import { resolve } from 'node:path';
import { parseAddressRange } from '../http/address-range.ts';
import { RelayError } from '../protocol/errors.ts';
import { parseMac } from '../protocol/mac.ts';
import type { OptionDescriptor } from './descriptor.ts';
import { NOT_A_PROXY, parseProxy } from './proxy.ts';

/** Where the text of an option was found. */
export type Source =
  | { readonly from: 'flag' }
  | { readonly from: 'environment'; readonly variable: string }
  | { readonly from: 'file'; readonly variable: string; readonly file: string }
  | { readonly from: 'default' };

/** The place of a source in words, as in `RELAY_PORT in /srv/.env`. */
export function describeSource(name: string, source: Source): string {
  if (source.from === 'flag') return `--${name}`;
  if (source.from === 'environment') return `${source.variable} in the environment`;
  if (source.from === 'file') return `${source.variable} in ${source.file}`;
  return 'default';
}

/** A value that the configuration may hold; undefined where a duration was turned `off`. */
export type Value = string | number | boolean | URL | readonly string[] | Readonly<Record<string, string>> | undefined;

/** The longest time that a timer of JavaScript can wait for. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** A complaint about a text, which the caller completes with option, source and text. */
class BadValue extends Error {}

/**
 * Reads the text of an option.
 * @param texts every occurrence, in order: of an option that is not repeatable the last one counts
 * @param cwd what relative paths start from
 * @throws {RelayError} `usage`, naming the option, where the text comes from, and the text (unless it is secret)
 */
export function parseValue(
  name: string,
  option: OptionDescriptor,
  texts: readonly string[],
  source: Source,
  cwd: string,
): Value {
  try {
    switch (option.kind) {
      case 'list':
        return texts.map((text) => parseText(text));
      case 'origins':
        return texts.map((text) => (option.canBeAny && text === '*' ? text : parseOrigin(text)));
      case 'ranges':
        return texts.map((text) => parseRange(text));
      case 'map':
        return Object.fromEntries(texts.map((text) => parsePair(text)));
      default:
        return parseOne(option, texts.at(-1) ?? '', source, cwd);
    }
  } catch (thrown) {
    if (!(thrown instanceof BadValue)) throw thrown;
    const place = source.from === 'flag' ? '' : ` (${describeSource(name, source)})`;
    // A proxy's URL may hold a password.
    const isHidden = option.secret || option.kind === 'proxy';
    const shown = isHidden ? 'the value' : texts.map((text) => JSON.stringify(text.slice(0, 200))).join(', ');
    throw new RelayError('usage', `--${name}${place}: ${shown} ${thrown.message}`);
  }
}

function parseOne(option: OptionDescriptor, text: string, source: Source, cwd: string): Value {
  switch (option.kind) {
    case 'integer':
      return within(option, parseInteger(text), String);
    case 'bytes':
      if (option.canBeOff && text === 'off') return undefined;
      return within(option, parseBytes(text), formatBytes);
    case 'duration':
      if (option.canBeOff && text === 'off') return undefined;
      return within({ max: LONGEST_TIMER_MS, ...option }, parseDuration(text), formatDuration);
    case 'enum':
      return parseEnum(text, option.values ?? []);
    case 'boolean':
      return parseBoolean(text);
    case 'url':
      return parseUrl(text);
    case 'proxy':
      return text === 'none' ? text : parseProxyOption(text, source);
    case 'mac': {
      const mac = parseMac(text);
      if (mac instanceof RelayError) throw new BadValue('is not a MAC address (as in cc-28-aa-01-02-03)');
      return mac;
    }
    case 'path':
      return resolve(cwd, parseText(text));
    default:
      return parseText(text);
  }
}

function parseText(text: string): string {
  if (text === '') throw new BadValue('is empty');
  // oxlint-disable-next-line no-control-regex -- they are what is looked for
  if (/[\u0000-\u001f\u007f]/.test(text)) throw new BadValue('contains a control character');
  return text;
}

function parseInteger(text: string): number {
  const value = /^[+-]?\d+$/.test(text) ? Number(text) : Number.NaN;
  if (!Number.isSafeInteger(value)) throw new BadValue('is not a whole number');
  return value;
}

const BYTE_UNITS: Readonly<Record<string, number>> = {
  '': 1,
  b: 1,
  ...Object.fromEntries(
    ['k', 'm', 'g', 't'].flatMap((letter, index) => [
      [letter, 1024 ** (index + 1)],
      [`${letter}ib`, 1024 ** (index + 1)],
      [`${letter}b`, 1000 ** (index + 1)],
    ]),
  ),
};

function parseBytes(text: string): number {
  const [, digits = '', unit = ''] = /^(\d+(?:\.\d+)?) ?([a-z]*)$/i.exec(text) ?? [];
  const factor = BYTE_UNITS[unit.toLowerCase()];
  const value = Math.round(Number(digits) * (factor ?? Number.NaN));
  if (digits === '' || !Number.isSafeInteger(value)) throw new BadValue('is not a size (as in 10GiB, 500MB, 4096)');
  return value;
}

const DURATION_UNITS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 24 * 3_600_000,
};

function parseDuration(text: string): number {
  if (text === '0') return 0;
  if (!/^(?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+$/.test(text)) {
    throw new BadValue('is not a time (as in 250ms, 30s, 10m, 24h, 7d)');
  }
  let sumMs = 0;
  for (const [, digits, unit = ''] of text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h|d)/g)) {
    sumMs += Number(digits) * (DURATION_UNITS[unit] ?? Number.NaN);
  }
  return Math.round(sumMs);
}

function within(
  { min = 0, max = Number.MAX_SAFE_INTEGER }: { readonly min?: number; readonly max?: number },
  value: number,
  format: (value: number) => string,
): number {
  if (value < min) throw new BadValue(`is less than ${format(min)}`);
  if (value > max) throw new BadValue(`is more than ${format(max)}`);
  return value;
}

/** A size as one would write it, in the largest unit that divides it. */
function formatBytes(value: number): string {
  const unit = ['TiB', 'GiB', 'MiB', 'KiB'].find(
    (each) => value > 0 && value % (BYTE_UNITS[each.toLowerCase()] ?? 1) === 0,
  );
  return unit ? `${value / (BYTE_UNITS[unit.toLowerCase()] ?? 1)}${unit}` : `${value}B`;
}

/** A time as one would write it, in the largest unit that divides it. */
function formatDuration(valueMs: number): string {
  const unit = ['d', 'h', 'm', 's'].find((each) => valueMs > 0 && valueMs % (DURATION_UNITS[each] ?? 1) === 0) ?? 'ms';
  return `${valueMs / (DURATION_UNITS[unit] ?? 1)}${unit}`;
}

function parseEnum(text: string, values: readonly string[]): string {
  if (!values.includes(text)) throw new BadValue(`is none of ${values.join(', ')}`);
  return text;
}

const BOOLEANS: Readonly<Record<string, boolean>> = {
  true: true,
  yes: true,
  on: true,
  1: true,
  false: false,
  no: false,
  off: false,
  0: false,
};

function parseBoolean(text: string): boolean {
  const lower = text.toLowerCase();
  const value = Object.hasOwn(BOOLEANS, lower) ? BOOLEANS[lower] : undefined;
  if (value === undefined) throw new BadValue('is neither true nor false');
  return value;
}

function parseUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol !== 'http:' && url?.protocol !== 'https:') {
    throw new BadValue('is not an http:// or https:// URL');
  }
  if (url.username !== '' || url.password !== '') {
    throw new BadValue('has a user name or password in it, which others could read');
  }
  if (url.search !== '' || url.hash !== '') throw new BadValue('has a query or fragment, and must not');
  return url;
}

function parseProxyOption(text: string, { from }: Source): URL {
  const proxy = parseProxy(text);
  if (proxy === undefined) throw new BadValue(`is neither none, nor ${NOT_A_PROXY.replace(/^is not /, '')}`);
  if (from === 'flag' && proxy.password !== '') {
    throw new BadValue('has a password in it, which other users see among the processes: set it as RELAY_PROXY');
  }
  return proxy;
}

function parseOrigin(text: string): string {
  const url = parseUrl(text);
  if (url.pathname !== '/') throw new BadValue('is not an origin (as in https://store.example:9000): it has a path');
  return url.origin;
}

function parseRange(text: string): string {
  if (parseAddressRange(text) === undefined) {
    throw new BadValue('is neither an address nor a range of them (as in 10.0.0.0/8, fd00::/8)');
  }
  return text;
}

function parsePair(text: string): [string, string] {
  const [, key = '', value = ''] = /^([\w.-]+)=(.*)$/su.exec(text) ?? [];
  if (key === '') throw new BadValue('is not KEY=VALUE, the key of letters, digits, ".", "_" and "-"');
  return [key, value === '' ? '' : parseText(value)];
}
