import { describe, expect, test } from '@jest/globals';
import type { DatasetName } from '../../../../src/protocol/dataset-name.ts';
import type { Mac } from '../../../../src/protocol/mac.ts';
import { Grant } from '../../../../src/router/access/grant.ts';

const MAC = 'cc-28-aa-01-02-03' as Mac;
const OTHER = 'cc-28-aa-01-02-04' as Mac;
const app = (...datasets: string[]): Grant => Grant.of({ role: 'app', macs: [MAC], datasets }, 'key');

describe('what a token grants', () => {
  test('is the connectors that it names', () => {
    const grant = app('**');
    expect([grant.coversMac(MAC), grant.coversMac(OTHER)]).toEqual([true, false]);
    expect(Grant.of({ role: 'app', macs: ['*'], datasets: ['**'] }, 'key').coversMac(OTHER)).toBe(true);
  });

  test.each([
    ['**', 'a/b/c.csv', true],
    ['**', '.hidden', true],
    ['**', 'a/.hidden/b', true],
    ['*', 'a.csv', true],
    ['*', 'a/b.csv', false],
    ['*.csv', 'a.csv', true],
    ['*.csv', 'a.csv.bak', false],
    ['*.csv', 'A.CSV', false],
    ['reports/*', 'reports/a.csv', true],
    ['reports/*', 'reports/2026/a.csv', false],
    ['reports/**', 'reports/2026/a.csv', true],
    ['reports/**', 'reports2/a.csv', false],
    ['reports/**', 'x/reports/a.csv', false],
    ['a?.csv', 'ab.csv', true],
    ['a?.csv', 'a/.csv', false],
    ['{a,b}.csv', 'b.csv', true],
    ['!a.csv', 'b.csv', false],
    ['!a.csv', '!a.csv', true],
    ['a.csv', 'a.csv', true],
    ['a.csv', 'axcsv', false],
    ['a.csv', 'a.csv\nb', false],
    ['reports/**', 'reports/a\nb.csv', true],
    // What new tokens cannot have keeps in older ones the meaning that it had.
    ['@(a|b).csv', 'a.csv', true],
    ['@(a|b).csv', 'c.csv', false],
    ['!(a).csv', 'b.csv', true],
    ['!(a).csv', 'a.csv', false],
    ['report (1).csv', 'report (1).csv', true],
    ['report (*).csv', 'report 2.csv', true],
    ['[!a]x', 'bx', false],
    ['[!a]x', '!x', true],
    ['{1..3}.csv', '2.csv', true],
    ['[[:digit:]]', '7', true],
    ['{*,a}*', 'b/c', false],
    ['report \\(*\\).csv', 'report (2).csv', true],
    ['caf\u00e9.csv', 'cafe\u0301.csv', true],
    ['cafe\u0301.csv', 'caf\u00e9.csv', true],
  ])('with the glob %j, of the dataset %j: %p', (glob, name, covered) => {
    expect(app(glob).coversDataset(name)).toBe(covered);
  });

  test('is what any of its globs covers', () => {
    expect(app('a.csv', 'b/*').coversDataset('b/c')).toBe(true);
    expect(app('a.csv', 'b/*').coversDataset('c')).toBe(false);
  });

  test('is nothing for an app whose token names no datasets, and all names for a monitor', () => {
    expect(Grant.of({ role: 'app', macs: ['*'] }, 'key').coversDataset('a.csv')).toBe(false);
    expect(app().coversDataset('a.csv')).toBe(false);
    expect(Grant.of({ role: 'monitor', macs: ['*'] }, 'key').coversDataset('a.csv')).toBe(true);
  });

  test('is everything where there are no tokens', () => {
    expect(Grant.everything.coversMac(OTHER)).toBe(true);
    expect(Grant.everything.coversDataset('a/b')).toBe(true);
    expect(Grant.everything.expiresAt).toBeUndefined();
  });

  test.each([
    [['**'], '', ['', 'a/']],
    [['reports/**'], 'reports/', ['reports/', 'reports/2026/']],
    [['reports/a/*', 'reports/b/x.csv'], 'reports/', []],
    [['reports/**', 'other/*'], '', ['reports/x/']],
    [['rep*/x'], '', []],
    // These begin with what does not mean itself, or has other spellings.
    [['./reports/**'], '', []],
    [['K/**'], '', []],
    [['\u00e9/**'], '', []],
    [['a+(b)/**'], '', []],
    [[], '', []],
  ])('by %j lies below %j, and is all below %j', (globs, base, whole) => {
    const grant = app(...globs);
    expect(grant.base).toBe(base);
    const prefixes = ['', 'a/', 'reports/', 'reports/2026/', 'reports/x/', 'other/'];
    expect(prefixes.filter((prefix) => grant.coversAllBelow(prefix))).toEqual(
      expect.arrayContaining(prefixes.filter((prefix) => whole.some((each) => prefix.startsWith(each)))),
    );
    for (const prefix of prefixes)
      if (!grant.coversDataset(`${prefix}x`)) expect(grant.coversAllBelow(prefix)).toBe(false);
  });

  test('of a signed URL is its dataset and no other, whatever the name has in it', () => {
    const grant = Grant.ofUrl(MAC, 'a/*.csv' as DatasetName, 1);
    expect(grant.coversDataset('a/*.csv')).toBe(true);
    expect(grant.coversDataset('a/b.csv')).toBe(false);
    expect(grant.coversMac(OTHER)).toBe(false);
    expect(grant.coversAllBelow('a/')).toBe(false);
    expect([grant.isOfUrl, grant.expiresAt]).toEqual([true, 1000]);
    expect([app('**').isOfUrl, Grant.everything.isOfUrl]).toEqual([false, false]);
    expect(Grant.ofUrl(MAC, 'caf\u00e9' as DatasetName, 1).coversDataset('cafe\u0301')).toBe(true);
  });
});
