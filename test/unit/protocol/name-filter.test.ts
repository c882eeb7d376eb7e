import { describe, expect, test } from '@jest/globals';
import { cursorAfter, NameFilter, rollUp } from '../../../src/protocol/name-filter.ts';

describe('a filter of names', () => {
  test('accepts what begins with the prefix, in any composition, and matches the glob', () => {
    const filter = new NameFilter({ prefix: 'caf\u00e9/', glob: '**/*.csv' });
    expect(filter.accepts('caf\u00e9/a.csv')).toBe(true);
    expect(filter.accepts('cafe\u0301/a.csv')).toBe(true);
    expect(filter.accepts('caf\u00e9/a.txt')).toBe(false);
    expect(filter.accepts('cafe/a.csv')).toBe(false);
    expect(filter.mayHold('cafe\u0301/')).toBe(true);
    expect(filter.mayHold('other/')).toBe(false);
  });

  test.each([
    [{ prefix: 'a/b' }, 'a/'],
    [{ prefix: 'a/b/' }, 'a/b/'],
    [{ prefix: 'a/', glob: 'a/b/*' }, 'a/b/'],
    [{ glob: 'a/*' }, 'a/'],
    // Kelvin's sign becomes a K.
    [{ prefix: 'K/b' }, ''],
    [{ prefix: '\u00e9/b' }, ''],
    [{}, ''],
  ])('%j is about %j', (wish, base) => {
    expect(new NameFilter(wish).base).toBe(base);
  });

  test('knows what comes after all that it accepts', () => {
    const filter = new NameFilter({ prefix: 'b/c' });
    expect(['a', 'b', 'b/', 'b/zz'].some((name) => filter.isPast(name))).toBe(false);
    expect(['b0', 'c'].every((name) => filter.isPast(name))).toBe(true);
    expect(new NameFilter({}).isPast('z')).toBe(false);
  });

  test.each([{ prefix: '\ud800' }, { prefix: 'a'.repeat(4096) }, { glob: '' }])('refuses %j', (wish) => {
    expect(() => new NameFilter(wish)).toThrow(expect.objectContaining({ code: 'invalid_request' }));
  });

  test.each([
    ['a', '', undefined],
    ['a/b', '', 'a/'],
    ['a/b/c', 'a/', 'a/b/'],
    ['a/b', 'a/', undefined],
    ['ab/c', 'a', 'ab/'],
    ['e\u0301/b/c', '\u00e9/', 'e\u0301/b/'],
    ['a/b/', 'a/', 'a/b/'],
  ])('rolls %j up beyond %j into %j', (name, prefix, expected) => {
    expect(rollUp(name, prefix)).toBe(expected);
  });

  test('a cursor after a directory follows the names in it, and precedes those after it', () => {
    expect(cursorAfter('a/') > 'a/\u{1f600}').toBe(true);
    expect(cursorAfter('a/') < 'a0').toBe(true);
  });
});
