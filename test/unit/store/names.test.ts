import { resolve } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import type { Mac } from '../../../src/protocol/mac.ts';
import { formatAttachment } from '../../../src/http/content-disposition.ts';
import { createObjectKey, fileNameToKey, isObjectKey, keyToFileName } from '../../../src/store/object-key.ts';
import { parseStoreLocation } from '../../../src/store/open-store.ts';

describe('object key', () => {
  it('is new each time, names the connector and fits its own rules', () => {
    const keys = Array.from({ length: 100 }, () => createObjectKey('cc-28-aa-01-02-03' as Mac));
    expect(new Set(keys).size).toBe(100);
    for (const key of keys) {
      expect(key).toMatch(/^datasets\/cc-28-aa-01-02-03\/[0-9a-f]{32}$/);
      expect(fileNameToKey(keyToFileName(key))).toBe(key);
    }
  });

  it('is refused where it could mean more than a name', () => {
    for (const key of ['', '.', '..', 'a/../b', '/a', 'a/', 'a//b', 'a~b', 'a\0', 'a\\b', 'ä', 'a'.repeat(201)]) {
      expect([key, isObjectKey(key)]).toEqual([key, false]);
    }
  });

  it('has a file name that leads nowhere else, whatever it is', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string({ unit: 'binary' }), fc.stringMatching(/^[a.~/]{0,9}$/)), (text) => {
        fc.pre(isObjectKey(text));
        expect(resolve('/store', keyToFileName(text))).toBe(`/store/${keyToFileName(text)}`);
        expect(keyToFileName(text)).not.toContain('/');
      }),
    );
  });
});

describe('attachment', () => {
  it.each([
    ['a.csv', `attachment; filename="a.csv"; filename*=UTF-8''a.csv`],
    ["it's (1)*.csv", `attachment; filename="it's (1)*.csv"; filename*=UTF-8''it%27s%20%281%29%2A.csv`],
    ['dir/sub\\b "x".csv', `attachment; filename="b _x_.csv"; filename*=UTF-8''b%20%22x%22.csv`],
    ['größe.csv', `attachment; filename="gr__e.csv"; filename*=UTF-8''gr%C3%B6%C3%9Fe.csv`],
    ['a\r\nSet-Cookie: b', `attachment; filename="a__Set-Cookie: b"; filename*=UTF-8''a__Set-Cookie%3A%20b`],
    // Seen, the first would end in exe.csv.
    ['evil\u202evsc.exe', `attachment; filename="evilvsc.exe"; filename*=UTF-8''evilvsc.exe`],
    ['a\u200b\u2066b\ufeff\u00ad.csv', `attachment; filename="ab.csv"; filename*=UTF-8''ab.csv`],
    ['a\u2028b', `attachment; filename="a_b"; filename*=UTF-8''a_b`],
    ['..', 'attachment'],
    ['a/.', 'attachment'],
    ['\u200f..', 'attachment'],
    ['...', `attachment; filename="..."; filename*=UTF-8''...`],
    ['', 'attachment'],
    ['dir/', 'attachment'],
  ])('of %j', (name, expected) => {
    expect(formatAttachment(name)).toBe(expected);
  });

  it('is always a header that can be sent', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (name) => {
        expect(formatAttachment(name)).toMatch(/^[\x20-\x7e]+$/);
        expect(formatAttachment(`${name}\ud800`)).toMatch(/^[\x20-\x7e]+$/);
      }),
    );
  });
});

describe('store location', () => {
  it.each([
    ['none', { kind: 'none' }],
    ['file:/var/lib/store', { kind: 'file', directory: '/var/lib/store' }],
    ['file:some/dir', { kind: 'file', directory: resolve('some/dir') }],
    ['file:///var/store', { kind: 'file', directory: '/var/store' }],
    ['s3://my-bucket', { kind: 's3', bucket: 'my-bucket', prefix: '' }],
    ['s3://my-bucket/', { kind: 's3', bucket: 'my-bucket', prefix: '' }],
    ['s3://my.bucket/a/b_c', { kind: 's3', bucket: 'my.bucket', prefix: 'a/b_c' }],
    ['s3://my-bucket/a/', { kind: 's3', bucket: 'my-bucket', prefix: 'a' }],
  ])('%s', (text, expected) => {
    expect(parseStoreLocation(text)).toEqual(expected);
  });

  it.each([
    '',
    'nothing',
    'file:',
    'file:a\0b',
    's3://',
    's3://B',
    's3://My-Bucket',
    's3://a..b',
    's3://ab/../c',
    's3://bucket//a',
    's3://bucket/a?b',
    'S3://bucket',
    '/var/store',
  ])('refuses %j as a usage error that names the option', (text) => {
    expect(() => parseStoreLocation(text)).toThrow(
      expect.objectContaining({ code: 'usage', message: expect.stringContaining('--store') }),
    );
  });
});
