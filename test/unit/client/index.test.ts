import { readFile } from 'node:fs/promises';
import { expect, test } from '@jest/globals';
import * as files from '../../../src/files.ts';
import * as library from '../../../src/index.ts';

/** Every module that a file brings with it, at run time. */
async function walk(url: URL, seen: Set<string>): Promise<Set<string>> {
  if (seen.has(url.href)) return seen;
  seen.add(url.href);
  const text = await readFile(url, 'utf8');
  for (const [statement, from = ''] of text.matchAll(/^(?:import|export)\b[^;]*?from '([^']+)';$/gms)) {
    if (/^(?:import|export) type\b/.test(statement)) continue;
    if (from.startsWith('.')) await walk(new URL(from, url), seen);
    else seen.add(from);
  }
  return seen;
}

test('the library runs wherever there is fetch: it needs nothing of Node, and zod alone', async () => {
  const modules = await walk(new URL('../../../src/index.ts', import.meta.url), new Set());
  expect(modules.size).toBeGreaterThan(10);
  expect([...modules].filter((module) => !module.startsWith('file:'))).toEqual(['zod']);
});

test('it exports what the documents name, and nothing of its insides', () => {
  expect(Object.keys(library).toSorted()).toEqual([
    'RelayClient',
    'RelayError',
    'Ways',
    'choosePattern',
    'downloadOffloaded',
    'isErrorCode',
    'openByWays',
    'tryWays',
    'withRetries',
  ]);
});

test('what saves to files is apart from it, since it needs Node', () => {
  expect(Object.keys(files).toSorted()).toEqual([
    'checkTarget',
    'download',
    'downloadAll',
    'downloadFleet',
    'isGlob',
    'outputError',
    'saveTo',
    'verify',
    'writeOut',
  ]);
});
