import { isRepeatable, type Role } from './descriptor.ts';
import { type Flags, gatherOptions, type ResolvedOption, type Surroundings } from './resolve.ts';
import { listProxyVariables, parseProxy, showProxy } from './proxy.ts';
import { describeSource } from './values.ts';

const MASK = '********';

/** Of the SDK's own variables, those that may be shown; every other might be a key. */
const SHOWN_AWS = /^AWS_(?:(?:DEFAULT_)?REGION|PROFILE|ENDPOINT_URL(?:_\w+)?)$/;

/**
 * The configuration of a role as aligned text, a line each: name, value, and where it comes from. Secrets are masked.
 * @throws {RelayError} `usage` as {@link gatherOptions} does; what is missing is shown as such
 */
export function printConfig(role: Role, flags: Flags, surroundings: Surroundings): string {
  const awsBefore = new Set(Object.keys(surroundings.env));
  const { options, envFile } = gatherOptions(role, flags, surroundings);
  const rows = options
    .filter(({ option }) => !option.flagOnly)
    .map((resolved) => [
      resolved.name,
      showValue(role, resolved),
      resolved.source ? describeSource(resolved.name, resolved.source) : '',
    ]);
  rows.push(['env-file', envFile?.path ?? '(none)', flags['env-file'] === undefined ? 'default' : '--env-file']);
  if (role !== 'router') {
    for (const { name, text } of listProxyVariables(surroundings.env, MASK)) rows.push([name, text, 'environment']);
  }
  if (role === 'router') {
    for (const [name, text] of Object.entries(surroundings.env).toSorted(([a], [b]) => (a < b ? -1 : 1))) {
      if (!name.startsWith('AWS_') || !text) continue;
      const place = awsBefore.has(name) ? 'environment' : (envFile?.path ?? '');
      rows.push([name, SHOWN_AWS.test(name) ? text : MASK, place]);
    }
  }
  return align(rows);
}

function showValue(role: Role, { option, texts, value, source }: ResolvedOption): string {
  if (source === undefined)
    return option.requiredFor?.includes(role) ? '(missing)' : `(${option.defaultText ?? 'none'})`;
  if (option.secret) return MASK;
  if (isRepeatable(option)) return texts.length === 0 ? '(none)' : texts.join(', ');
  if (option.kind === 'proxy') {
    const text = texts.at(-1) ?? '';
    const proxy = text === 'none' ? undefined : parseProxy(text);
    return proxy === undefined ? text : showProxy(proxy, MASK);
  }
  // These two are shown as they are understood, the others as they were written.
  return (option.kind === 'path' || option.kind === 'mac') && typeof value === 'string' ? value : (texts.at(-1) ?? '');
}

function align(rows: readonly (readonly string[])[]): string {
  const widthOf = (column: number) => Math.max(...rows.map((row) => row[column]?.length ?? 0));
  const widths = [widthOf(0), Math.min(widthOf(1), 60)];
  return rows
    .map(
      (row) =>
        row
          .map((cell, column) => cell.padEnd(widths[column] ?? 0))
          .join('  ')
          .trimEnd() + '\n',
    )
    .join('');
}
