import { expect, test } from '@jest/globals';
import { type OptionDescriptor, ROLES } from '../../../src/config/descriptor.ts';
import { type OptionName, OPTIONS, optionsOf } from '../../../src/config/options.ts';
import { listCode, listDocuments, readDocument } from './documents.ts';

/** Flags that yargs or one subcommand brings, and that are no part of the configuration. */
const OTHERS = ['--help', '--version', '--long', '--label', '--state', '--prefix', '--expires', '-h', '-l'];

const documents = listDocuments().filter((path) => path === 'README.md' || path.startsWith('docs/'));

const withoutNo = (flag: string): string => flag.replace(/^--no-/, '--');

function flagsOf(names: readonly OptionName[]): Set<string> {
  const flags = names.flatMap((name) => {
    const { alias }: OptionDescriptor = OPTIONS[name];
    return [`--${name}`, withoutNo(`--${name}`), ...(alias === undefined ? [] : [`-${alias}`])];
  });
  return new Set([...flags, ...OTHERS]);
}

const listFlags = (text: string): string[] => [...text.matchAll(/(?<=^|\s)--?[a-z][\w-]*/g)].map(([flag]) => flag);

test.each(documents)('every flag of relay that %s names in a command is one of that role', (path) => {
  const unknown: string[] = [];
  for (const line of listCode(readDocument(path))) {
    const match = /(?:^|\s)relay (router|connector|app)\b([^|&;]*)/.exec(line.replace(/^\$ /, ''));
    if (match === null) continue;
    const role = ROLES.find((each) => each === match[1]) ?? 'app';
    const known = flagsOf(optionsOf(role).map(([name]) => name));
    unknown.push(...listFlags(match[2] ?? '').filter((flag) => !known.has(flag) && !known.has(withoutNo(flag))));
  }
  expect(unknown).toEqual([]);
});

test.each(documents)('every option that %s names by itself exists', (path) => {
  const known = flagsOf(Object.keys(OPTIONS) as OptionName[]);
  const named = listCode(readDocument(path)).filter((line) => /^--[a-z]/.test(line));
  const flags = named.map((line) => line.split(/[ =]/)[0] ?? '');
  expect(flags.filter((flag) => !known.has(flag) && !known.has(withoutNo(flag)))).toEqual([]);
});
