import { describe, expect, test } from '@jest/globals';
import { type ErrorCode, ERRORS } from '../../../src/protocol/errors.ts';
import { fromConnector } from '../../../src/protocol/failures.ts';
import { readDocument, readTables } from './documents.ts';

const page = readDocument('docs/errors.md');
const rows = readTables(page).find((table) => table.some(([code]) => code === '`invalid_request`')) ?? [];

describe('docs/errors.md', () => {
  test('has one row for every code, in the order of the table in the code', () => {
    expect(rows.map(([code]) => code)).toEqual(Object.keys(ERRORS).map((code) => `\`${code}\``));
  });

  test.each(Object.entries(ERRORS))('tells status, exit code and retry of %s', (code, kind) => {
    const row = rows.find(([name]) => name === `\`${code}\``);
    expect(row?.slice(1, 4)).toEqual([
      kind.status === null ? '–' : String(kind.status),
      String(kind.exitCode),
      kind.retryable ? 'yes' : 'no',
    ]);
  });

  test('says when each one happens and what to do', () => {
    for (const row of rows) expect(row).toHaveLength(6);
    expect(rows.filter(([, , , , when, advice]) => !when || !advice)).toEqual([]);
  });

  test('names exactly the codes that a connector may report', () => {
    const section = page.slice(page.indexOf('## What a connector may report'));
    const listed = [...section.matchAll(/`([a-z_]+)`/g)].map((match) => match[1] as string);
    const passedOn = (Object.keys(ERRORS) as ErrorCode[]).filter((code) => fromConnector(code, '').code === code);
    expect([...new Set(listed)].toSorted()).toEqual(passedOn.toSorted());
  });
});

describe('the exit codes in README.md', () => {
  test('are those that some error or success has', () => {
    const text = readDocument('README.md');
    const section = text.slice(text.indexOf('## Exit codes'), text.indexOf('## Security'));
    const told = (readTables(section)[0] ?? []).map(([code]) => Number(code));
    const known = new Set([0, ...Object.values(ERRORS).map(({ exitCode }): number => exitCode)]);
    expect(told).toEqual([...known].toSorted((a, b) => a - b));
  });
});
