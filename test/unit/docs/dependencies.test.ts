import { expect, test } from '@jest/globals';
import { readDocument, readTables } from './documents.ts';

const page = readDocument('docs/dependencies.md');
const manifest = JSON.parse(readDocument('package.json')) as Record<string, Record<string, string>>;

test.each([
  ['Runtime', 'dependencies'],
  ['Development', 'devDependencies'],
])('docs/dependencies.md has a reason for each package under %s', (heading, field) => {
  const section = page.slice(page.indexOf(`## ${heading}`));
  const rows = readTables(section)[0] ?? [];
  expect(rows.map(([name]) => name)).toEqual(Object.keys(manifest[field] ?? {}).map((name) => `\`${name}\``));
  for (const [, reason] of rows) expect(reason).not.toBe('');
});
