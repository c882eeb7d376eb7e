import { describe, expect, test } from '@jest/globals';
import { allowsRange, evaluatePreconditions, readSingleTag } from '../../../src/http/conditions.ts';

const LAST = new Date('2026-01-02T03:04:05.678Z');
const SAME = 'Fri, 02 Jan 2026 03:04:05 GMT';
const EARLIER = 'Fri, 02 Jan 2026 03:04:04 GMT';
const LATER = 'Fri, 02 Jan 2026 03:04:06 GMT';
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
    expect(allowsRange(field, HERE)).toBe(allowed);
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
