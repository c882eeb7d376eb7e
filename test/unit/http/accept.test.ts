import { expect, test } from '@jest/globals';
import { namesOnlyJson, prefersHtml, prefersText, weightOf } from '../../../src/http/accept.ts';

test.each([
  ['text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8', true],
  ['text/plain', true],
  ['text/*', true],
  ['TEXT/HTML', true],
  ['text/html', true],
  ['text/html, image/gif, image/jpeg, */*; q=0.2', false],
  ['application/json;q=0.5, text/plain', true],
  [undefined, false],
  ['', false],
  ['*/*', false],
  ['application/json', false],
  ['application/json, text/plain, */*', false],
  ['text/plain;q=0.5, application/problem+json', false],
  ['text/plain;q=0.1, */*;q=0.5', false],
  ['text/plain;q=0', false],
  ['text/csv', false],
  ['application/octet-stream', false],
])('Accept %j is of a person: %p', (accept, isPerson) => {
  expect(prefersText(accept)).toBe(isPerson);
});

test('weighs what is named', () => {
  expect(weightOf('a/b;q=0.3;x=1, c/d', 'a/b')).toBe(0.3);
  expect(weightOf('a/b;q=0.3, c/d', 'a/b', 'c/d')).toBe(1);
  expect(weightOf('a/b;q=nonsense', 'a/b')).toBe(0);
  expect(weightOf('*/*', 'a/b')).toBe(0);
});

test.each<[string | undefined, boolean, boolean]>([
  [undefined, false, false],
  ['*/*', false, false],
  ['application/json', false, true],
  ['application/json;q=0', false, false],
  ['text/html', true, false],
  ['TEXT/HTML', true, false],
  ['text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8', true, false],
  ['application/json, text/html', false, false],
  ['application/json, text/html;q=0.9', false, false],
  ['application/json;q=0.5, text/html', true, false],
  ['text/html;q=0, application/json', false, true],
  ['text/html;q=nonsense', false, false],
  ['text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2', false, false],
])('Accept %j wants pages more than JSON: %p; names JSON and no pages: %p', (accept, html, json) => {
  expect([prefersHtml(accept), namesOnlyJson(accept)]).toEqual([html, json]);
});
