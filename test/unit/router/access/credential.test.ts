import { describe, expect, test } from '@jest/globals';
import { readCredential } from '../../../../src/router/access/credential.ts';

const basic = (pair: string): string => `Basic ${Buffer.from(pair).toString('base64')}`;

describe('the credential of a request', () => {
  test.each<[string | undefined, string | undefined | null]>([
    [undefined, undefined],
    ['Bearer a.b.c', 'a.b.c'],
    ['bearer a.b.c', 'a.b.c'],
    ['BEARER   a.b.c ', 'a.b.c'],
    [basic('me:a.b.c'), 'a.b.c'],
    [basic(':a.b.c'), 'a.b.c'],
    [basic('me:a:b'), 'a:b'],
    [basic('me:'), null],
    [basic('me'), null],
    [basic(''), null],
    ['', null],
    ['Bearer', null],
    ['Bearer a b', null],
    ['a.b.c', null],
    ['Digest username="me"', null],
  ])('of Authorization %j is %j', (header, token) => {
    expect(readCredential(header)).toBe(token);
  });
});
