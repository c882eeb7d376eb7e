import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { allowsRange, evaluatePreconditions, readSingleTag } from '../../../src/http/conditions.ts';

const LAST = new Date('2026-01-02T03:04:05.678Z');
const SAME = 'Fri, 02 Jan 2026 03:04:05 GMT';
const EARLIER = 'Fri, 02 Jan 2026 03:04:04 GMT';
const LATER = 'Fri, 02 Jan 2026 03:04:06 GMT';
const MUCH_LATER = new Date('2026-02-01T00:00:00Z');
const HERE = { etag: '"a"', lastModified: LAST };

describe('preconditions', () => {
  test.each([
    [{}, 'proceed'],
    [{ 'if-match': '"a"' }, 'proceed'],
    [{ 'if-match': '"b" , "a"' }, 'proceed'],
    [{ 'if-match': '*' }, 'proceed'],
    [{ 'if-match': 'W/"a"' }, 'precondition_failed'],
    [{ 'if-match': '"b"' }, 'precondition_failed'],
    [{ 'if-match': '' }, 'precondition_failed'],
    [{ 'if-match': '"b", "c,\\"a"' }, 'precondition_failed'],
    [{ 'if-match': '"a" "b"' }, 'precondition_failed'],
    [{ 'if-match': '"a"b' }, 'precondition_failed'],
    [{ 'if-match': 'w/"a", x, "a"' }, 'precondition_failed'],
    [{ 'if-match': ', ,\t"b",, "a" ,' }, 'proceed'],
    [{ 'if-match': '"b,"a","' }, 'precondition_failed'],
    [{ 'if-none-match': '"x,y", "a"' }, 'not_modified'],
    [{ 'if-none-match': '"a' }, 'proceed'],
    [{ 'if-none-match': 'a' }, 'proceed'],
    [{ 'if-none-match': '"b", *' }, 'proceed'],
    [{ 'if-none-match': 'nonsense', 'if-modified-since': SAME }, 'proceed'],
    [{ 'if-modified-since': 'Friday, 02-Jan-26 03:04:05 GMT' }, 'not_modified'],
    [{ 'if-modified-since': 'Fri Jan  2 03:04:05 2026' }, 'not_modified'],
    [{ 'if-modified-since': 'Fri Jan  2 03:04:04 2026' }, 'proceed'],
    [{ 'if-modified-since': '2027-01-01T00:00:00Z' }, 'proceed'],
    [{ 'if-modified-since': 'Fri, 02 Jan 2027 03:04:05 +0000' }, 'proceed'],
    [{ 'if-unmodified-since': '2025' }, 'proceed'],
    [{ 'if-unmodified-since': SAME }, 'proceed'],
    [{ 'if-unmodified-since': LATER }, 'proceed'],
    [{ 'if-unmodified-since': EARLIER }, 'precondition_failed'],
    [{ 'if-unmodified-since': 'soon' }, 'proceed'],
    [{ 'if-match': '"a"', 'if-unmodified-since': EARLIER }, 'proceed'],
    [{ 'if-none-match': '"a"' }, 'not_modified'],
    [{ 'if-none-match': 'W/"a"' }, 'not_modified'],
    [{ 'if-none-match': '*' }, 'not_modified'],
    [{ 'if-none-match': '"b"' }, 'proceed'],
    [{ 'if-modified-since': SAME }, 'not_modified'],
    [{ 'if-modified-since': LATER }, 'not_modified'],
    [{ 'if-modified-since': EARLIER }, 'proceed'],
    [{ 'if-modified-since': 'soon' }, 'proceed'],
    [{ 'if-none-match': '"b"', 'if-modified-since': SAME }, 'proceed'],
    [{ 'if-match': '"a"', 'if-none-match': '"a"' }, 'not_modified'],
    [{ 'if-match': '"b"', 'if-none-match': '"a"' }, 'precondition_failed'],
  ])('%j come to %s', (headers, verdict) => {
    expect(evaluatePreconditions(headers, HERE)).toBe(verdict);
  });

  test('of what has no validators match by * only', () => {
    expect(evaluatePreconditions({ 'if-match': '"a"' }, {})).toBe('precondition_failed');
    expect(evaluatePreconditions({ 'if-match': '*' }, {})).toBe('proceed');
    expect(evaluatePreconditions({ 'if-none-match': '"a"' }, {})).toBe('proceed');
    expect(evaluatePreconditions({ 'if-modified-since': SAME, 'if-unmodified-since': EARLIER }, {})).toBe('proceed');
  });
});

test('a comma belongs to the tag that it is in', () => {
  for (const name of ['if-match', 'if-none-match'] as const) {
    const verdict = evaluatePreconditions({ [name]: '"x", "a,b"' }, { etag: '"a,b"' });
    expect(verdict).toBe(name === 'if-match' ? 'proceed' : 'not_modified');
  }
  expect(evaluatePreconditions({ 'if-match': '"a,b"' }, { etag: '"b"' })).toBe('precondition_failed');
});

describe('a list of tags', () => {
  const opaque = fc.string({ unit: fc.constantFrom('a', 'b', ',', '\\', '!', '*', '/', 'W', 'é'), maxLength: 5 });
  const tag = opaque.map((text) => `"${text}"`);
  const listed = fc.tuple(fc.constantFrom('', 'W/'), tag);
  const space = fc.constantFrom('', ' ', '\t', ',', ' , ');

  test('has exactly the tags that are written in it', () => {
    fc.assert(
      fc.property(fc.array(listed, { minLength: 1 }), tag, space, space, (tags, own, before, between) => {
        const field = before + tags.map((parts) => parts.join('')).join(`,${between}`);
        const isThere = tags.some(([, each]) => each === own);
        const isThereStrong = tags.some(([weak, each]) => each === own && weak === '');
        const verdictOf = (name: string): string => evaluatePreconditions({ [name]: field }, { etag: own });
        expect(verdictOf('if-none-match')).toBe(isThere ? 'not_modified' : 'proceed');
        expect(verdictOf('if-match')).toBe(isThereStrong ? 'proceed' : 'precondition_failed');
      }),
    );
  });

  test('is read without harm, whatever it is', () => {
    const fields = fc.oneof(fc.string(), fc.string({ unit: fc.constantFrom('"', ',', ' ', 'W', '/', '*', 'a') }));
    fc.assert(
      fc.property(fields, (field) => {
        expect(['proceed', 'precondition_failed']).toContain(evaluatePreconditions({ 'if-match': field }, HERE));
        expect(['proceed', 'not_modified']).toContain(evaluatePreconditions({ 'if-none-match': field }, HERE));
        expect(['proceed', 'not_modified']).toContain(evaluatePreconditions({ 'if-modified-since': field }, HERE));
      }),
    );
  });

  test('takes time in proportion to its length', () => {
    const begunAt = performance.now();
    for (const unit of ['"', ' ', ',', '\t"', 'W/"'])
      evaluatePreconditions({ 'if-none-match': `${unit.repeat(500_000)}x` }, HERE);
    expect(performance.now() - begunAt).toBeLessThan(5000);
  });
});

describe('If-Range', () => {
  test.each([
    [undefined, true],
    ['"a"', true],
    ['"b"', false],
    ['W/"a"', false],
    [SAME, true],
    [LATER, false],
    [EARLIER, false],
    ['soon', false],
  ])('%s lets the range count: %p', (field, allowed) => {
    expect(allowsRange(field, HERE, MUCH_LATER)).toBe(allowed);
  });

  test('with a date counts only where no other change can have come in the same second', () => {
    const after = (ms: number): Date => new Date(LAST.getTime() + ms);
    expect(allowsRange(SAME, HERE, after(59_000))).toBe(false);
    expect(allowsRange(SAME, HERE, after(-3_600_000))).toBe(false);
    expect(allowsRange(SAME, HERE, after(61_000))).toBe(true);
    expect(allowsRange(SAME, { ...HERE, isImmutable: true }, after(0))).toBe(true);
    expect(allowsRange('Fri Jan  2 03:04:05 2026', HERE, MUCH_LATER)).toBe(true);
    expect(allowsRange('"a"', HERE, after(0))).toBe(true);
  });
});

test.each([
  ['"a"', '"a"'],
  [' "a" ', '"a"'],
  ['W/"a"', undefined],
  ['"a", "b"', undefined],
  ['*', undefined],
  ['a', undefined],
  [undefined, undefined],
])('the single strong tag of %j is %j', (field, tag) => {
  expect(readSingleTag(field)).toBe(tag);
});
