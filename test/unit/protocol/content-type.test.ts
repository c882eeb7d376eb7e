import { expect, test } from '@jest/globals';
import { contentType } from '../../../src/protocol/fields.ts';

test.each([
  'text/csv',
  'application/vnd.openxmlformats-officedocument.spreadsheetml.sheet',
  'image/svg+xml',
  'text/plain; charset=utf-8',
  'text/plain;charset=utf-8;format=flowed',
  'text/plain \t;\tcharset="utf-8"',
  'text/plain; title="a, b; \\"c\\""',
  'text/plain;',
  'text/plain; ; charset=utf-8',
])('a media type is %s', (text) => {
  expect(contentType.safeParse(text).data).toBe(text);
});

test.each([
  '',
  'text',
  'text/',
  '/csv',
  'text/csv/more',
  ' text/csv',
  'text/plain,text/html',
  'text/plain;,text/html',
  'text/plain; charset=utf-8, text/html',
  'text/plain; x="a",text/html',
  'text/plain; x="a\\",text/html',
  'text/plain; x=",text/html',
  'text/plain; charset',
  'text/plain; charset =utf-8',
  'text/plain; charset="utf-8" x',
  'text/plain; charset=ütf-8',
  'text/plain\r\nX: y',
  `text/plain;${' ;'.repeat(100)},`,
  `text/${'x'.repeat(300)}`,
])('%j is none', (text) => {
  expect(contentType.safeParse(text).success).toBe(false);
});
