import { describe, expect, test } from '@jest/globals';
import * as fc from 'fast-check';
import picomatch from 'picomatch';
import { Glob, readLiteralName } from '../../../src/protocol/glob.ts';

const MATCHES: [string, string, boolean][] = [
  ['*.csv', 'a.csv', true],
  ['*.csv', '.csv', true],
  ['*.csv', 'a/b.csv', false],
  ['**/*.csv', 'a.csv', true],
  ['**/*.csv', 'a/b/c.csv', true],
  ['a/**', 'a', false],
  ['a/**', 'a/b/c', true],
  ['a/**/b', 'a/b', true],
  ['a**', 'a/b', false],
  ['**', 'a/b', true],
  ['?', 'é', true],
  ['?', '😀', true],
  ['?', '', false],
  ['?x', '/x', false],
  ['[a-c]x', 'bx', true],
  ['[!a-c]x', 'bx', false],
  ['[!a-c]x', 'dx', true],
  ['[]]', ']', true],
  ['[', '[', true],
  ['a[b', 'a[b', true],
  ['{a,b}/c', 'b/c', true],
  ['{a,b/{c,d}}.csv', 'b/d.csv', true],
  ['{a,}b', 'b', true],
  ['{a}', '{a}', true],
  ['{a,b', '{a,b', true],
  ['{x{y,z}', '{xz', true],
  ['a,b', 'a,b', true],
  ['\\*', '*', true],
  ['\\*', 'a', false],
  ['[1]/a.csv', '[1]/a.csv', true],
  ['\\a/b', '\\a/b', true],
  ['report (1).csv', 'report (1).csv', true],
  ['a+(b)$^.txt', 'a+(b)$^.txt', true],
  ['!a', '!a', true],
  ['e\u0301*', '\u00e9x', true],
  ['\u00e9*', 'e\u0301x', true],
  ['*', 'line\nbreak', true],
];

describe('a glob', () => {
  test.each(MATCHES)('%j over %j is %s', (glob, name, expected) => {
    expect(new Glob(glob).matches(name)).toBe(expected);
  });

  test('matches what the glob of a token does', () => {
    const piece = fc.constantFrom('a', 'b', '.x', '*', '?', '[ab]', '{a,b}', '{a,b/a}');
    const part = fc
      .array(piece, { minLength: 1, maxLength: 4 })
      .map((pieces) => pieces.join(''))
      // Stars beside each other have a meaning as a whole part alone.
      .filter((text) => !text.includes('**'));
    const globs = fc
      .array(fc.oneof({ weight: 3, arbitrary: part }, fc.constant('**')), { minLength: 1, maxLength: 4 })
      .map((parts) => parts.join('/'))
      .filter((text) => text.split('{').length <= 6);
    const names = fc
      .array(fc.stringMatching(/^[abx.]{1,3}$/), { minLength: 1, maxLength: 4 })
      .map((parts) => parts.join('/'))
      .filter((name) => !/(^|\/)\.\.?(\/|$)/.test(name));
    fc.assert(
      fc.property(globs, names, (glob, name) => {
        const ofToken = picomatch(glob, { dot: true, nonegate: true, windows: false, strictSlashes: true });
        expect({ glob, name, is: new Glob(glob).matches(name) }).toEqual({ glob, name, is: ofToken(name) });
      }),
      { numRuns: 5000 },
    );
  });

  test('never lets a directory be passed over that holds a name that matches', () => {
    const piece = fc.constantFrom('a', 'b', '*', '?', '/', '**/', '/**', '[ab]', '{a,b/a}');
    const globs = fc.array(piece, { minLength: 1, maxLength: 6 }).map((pieces) => pieces.join(''));
    const names = fc
      .array(fc.stringMatching(/^[ab]{1,3}$/), { minLength: 1, maxLength: 4 })
      .map((parts) => parts.join('/'));
    fc.assert(
      fc.property(globs, names, (text, name) => {
        const glob = new Glob(text);
        if (!glob.matches(name)) return;
        expect(name.startsWith(glob.base)).toBe(true);
        for (let at = name.indexOf('/'); at >= 0; at = name.indexOf('/', at + 1))
          expect(glob.mayMatchBelow(name.slice(0, at + 1))).toBe(true);
      }),
      { numRuns: 5000 },
    );
  });

  test.each([
    ['2026/**/*.csv', '2026/', ['2026/', '2026/a/'], ['2025/', 'x/2026/']],
    ['*.csv', '', [], ['a/']],
    ['a/b/c*', 'a/b/', ['a/', 'a/b/'], ['a/b/c/', 'a/c/', 'b/']],
    ['{a,b}/c', '', ['a/', 'b/', '{a,b}/'], ['c/', 'a/c/']],
    ['\\a/b*', '', ['a/', '\\a/'], ['b/']],
  ])('%j is below %j', (text, base, into, past) => {
    const glob = new Glob(text);
    expect(glob.base).toBe(base);
    expect(into.filter((directory) => !glob.mayMatchBelow(directory))).toEqual([]);
    expect(past.filter((directory) => glob.mayMatchBelow(directory))).toEqual([]);
  });

  test.each([
    ['empty', ''],
    ['too long', 'a'.repeat(1025)],
    ['of too many alternatives', '{a,b}'.repeat(7)],
    ['of too many in one pair of braces', `{${'a,'.repeat(100)}}`],
  ])('that is %s is refused', (_, text) => {
    expect(() => new Glob(text)).toThrow(expect.objectContaining({ code: 'invalid_request' }));
  });

  test.each([
    ['stars', '*a'.repeat(400), `${'a'.repeat(4000)}b`],
    ['pairs of stars', `${'**/a*/'.repeat(150)}b`, `${'a/'.repeat(2000)}c`],
    ['open braces', '{'.repeat(1024), 'x'],
    ['open brackets', '['.repeat(1024), 'x'],
    ['nested braces', `${'{a,'.repeat(60)}b${'}'.repeat(60)}*`, 'c'],
  ])('of many %s is soon through', (_, text, name) => {
    const startedAt = performance.now();
    expect(new Glob(text).matches(name)).toBe(false);
    // A regular expression would not be through in a lifetime.
    expect(performance.now() - startedAt).toBeLessThan(5000);
  });
});

describe('the one name that a text means', () => {
  test.each([
    ['a.csv', 'a.csv'],
    ['report (1).csv', 'report (1).csv'],
    ['!a', '!a'],
    ['a+(b)@(c)', 'a+(b)@(c)'],
    ['{a}', '{a}'],
    ['{a,b', '{a,b'],
    ['a[b', 'a[b'],
    ['a]', 'a]'],
    ['run\\[7\\].csv', 'run[7].csv'],
    ['\\*', '*'],
    ['\\{a,b}', '{a,b}'],
    ['\\*\\\\b', '*\\b'],
    // A backslash that takes the meaning of nothing is a letter of a name.
    ['a\\b.csv', 'a\\b.csv'],
    ['a\\\\b', 'a\\\\b'],
    ['a\\', 'a\\'],
    ['*', undefined],
    ['a?', undefined],
    ['run[7].csv', undefined],
    ['{a,b}', undefined],
    ['a\\[*', undefined],
    ['{a,b}'.repeat(100), undefined],
  ])('is of %j %j', (text, name) => {
    expect(readLiteralName(text)).toBe(name);
  });
});
