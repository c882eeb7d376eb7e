import { describe, expect, test } from '@jest/globals';
import * as fc from 'fast-check';
import picomatch from 'picomatch';
import { Glob } from '../../../src/protocol/glob.ts';
import { findTokenGlobProblem } from '../../../src/protocol/token-glob.ts';

/** How globs of tokens were read before. */
const OPTIONS = { dot: true, nonegate: true, windows: false, strictSlashes: true };

const GOOD = [
  '**',
  '*',
  '*.csv',
  'reports/*',
  'reports/**',
  '**/*.csv',
  'a/**/b',
  '**/**',
  '{a,b}.csv',
  '{reports,logs}/**',
  '{*.csv,a?}',
  '{a,b*}c',
  'a?.csv',
  '???',
  'run[0-9].csv',
  '[a-zA-Z0-9_]*',
  'report \\(1\\).csv',
  'run\\[7\\].csv',
  '\\{a\\,b\\}',
  'what\\?',
  '\\*',
  '\\!a',
  '!a.csv',
  'a\\+b',
  'a@b!',
  'c\\+\\+/*',
  '\\$x\\^y',
  'a,b',
  'a.b..c',
  '.hidden/*',
  'caf\u00e9/*',
  '\\+\\@\\(a\\|b\\)',
];

const NAMES = [
  'a',
  'b',
  'a.csv',
  'b.csv',
  '.csv',
  'ab.csv',
  'reports',
  'reports/a.csv',
  'reports/2026/a.csv',
  'logs/x',
  'a/b',
  'a/x/b',
  'a/x/y/b',
  'ac',
  'bxc',
  'run7.csv',
  'run77.csv',
  'run[7].csv',
  'report (1).csv',
  'report 1.csv',
  '{a,b}',
  'what?',
  'whatx',
  '*',
  '!a',
  '!a.csv',
  'a+b',
  'aab',
  'a@b!',
  'c++/x',
  'ccc/x',
  '$x^y',
  'a,b',
  'a.b..c',
  '.hidden/x',
  'caf\u00e9/x',
  '+@(a|b)',
];

const BAD = [
  '@(a|b).csv',
  'a?(b)',
  '*(a)',
  '+(a)',
  '!(a)',
  '(a|b)',
  'a+b',
  'a$',
  '^a',
  'a|b',
  'report (1).csv',
  '[!a]*',
  '[^a]*',
  '[[:alpha:]]',
  '[]a]',
  '[a',
  'a]',
  '[b-a]',
  '[ab]+',
  '{a,b}+',
  '{a,b',
  '{a}',
  'a}',
  '{a..c}',
  '{1..3,5}',
  '{a/b,c}/d',
  '{a,{b,c}}',
  '{a,}',
  '"a"',
  'a\\d',
  'a\\\\b',
  'a\\',
  'a**',
  '***',
  '{*,a}*',
  './a',
  'a//b',
  'a/',
  '/a',
  'a/../b',
  'a\0b',
  '',
  'a'.repeat(2000),
  '{a,b}'.repeat(7),
];

describe('a glob that a token may have', () => {
  test.each(GOOD)('means the same everywhere: %j', (glob) => {
    expect(findTokenGlobProblem(glob)).toBeUndefined();
    const [before, now] = [picomatch(glob, OPTIONS), new Glob(glob)];
    expect(NAMES.filter((name) => now.matches(name))).toEqual(NAMES.filter((name) => before(name)));
  });

  test('covers the same as before, whatever it is made of', () => {
    const pieces = [
      ["ab.- !@,~'&;:#%=<dw", '*', '?'].flatMap((text) => Array.from(text)),
      ['\\*', '\\?', '\\[', '\\]', '\\(', '\\)', '\\{', '\\}', '\\|', '\\+', '\\!', '\\,', '\\"', '\\^', '\\$', '\\@'],
      ['[a-z]', '[0-9.]', '[a-z_]', '{a,b}', '{a*,b}', '{\\(,a.}', '{a?,\\+}', '{ab,*b}'],
    ];
    const piece = fc.constantFrom(...pieces.flat());
    const part = fc.array(piece, { minLength: 1, maxLength: 5 }).map((some) => some.join(''));
    const globs = fc
      .array(fc.oneof({ weight: 3, arbitrary: part }, fc.constant('**')), { minLength: 1, maxLength: 3 })
      .map((parts) => parts.join('/'))
      .filter((glob) => findTokenGlobProblem(glob) === undefined);
    const letters = [...'aab.-+!@$^,;:()[]{}|*?"\\ dw0'];
    const names = fc
      .array(
        fc.array(fc.constantFrom(...letters), { minLength: 1, maxLength: 4 }).map((all) => all.join('')),
        { minLength: 1, maxLength: 3 },
      )
      .map((parts) => parts.join('/'))
      .filter((name) => !/(^|\/)\.\.?(\/|$)/.test(name));
    // The glob without its meanings is a name that is near to it.
    const pairs = fc.oneof(
      fc.tuple(globs, names),
      globs.map((glob): [string, string] => [glob, glob.replaceAll(/\\|\[|\]|,.*?\}|\{/g, '').replaceAll('*', 'b')]),
      globs.map((glob): [string, string] => [glob, glob.replaceAll('**', 'a').replaceAll('\\', '')]),
    );
    fc.assert(
      fc.property(pairs, ([glob, name]) => {
        if (/(^|\/)(\.\.?)?(\/|$)/.test(name)) return;
        expect({ glob, name, is: new Glob(glob).matches(name) }).toEqual({
          glob,
          name,
          is: picomatch(glob, OPTIONS)(name),
        });
      }),
      { numRuns: 20_000 },
    );
  });

  test('covers names with a line break, and takes a character for one however it is encoded', () => {
    expect(new Glob('reports/**').matches('reports/a\nb')).toBe(true);
    expect(new Glob('?').matches('\u{1f600}')).toBe(true);
  });

  test.each(BAD)('is not %j, and that is said', (glob) => {
    expect(findTokenGlobProblem(glob)).toEqual(expect.any(String));
  });

  test.each([
    ['report (1).csv', '\\('],
    ['[!a]', 'not negated'],
    ['{a/b,c}', 'without a slash'],
    ['a**', 'whole part'],
    ['a\\d', 'backslash'],
  ])('is explained where it is %j', (glob, said) => {
    expect(findTokenGlobProblem(glob)).toContain(said);
  });
});
