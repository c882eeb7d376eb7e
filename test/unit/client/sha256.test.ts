import { createHash } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import { createSha256 } from '../../../src/client/sha256.ts';
import { makeBytes } from './stub-server.ts';

const expected = (bytes: Uint8Array): string => `sha-256=:${createHash('sha256').update(bytes).digest('base64')}:`;

describe.each([
  ['of the platform', undefined],
  ['of our own, for browsers', {}],
])('a running SHA-256 %s', (_, platform) => {
  test.each([0, 1, 55, 56, 63, 64, 65, 119, 120, 128, 1000, 100_003])('is right for %i bytes', (length) => {
    const bytes = makeBytes(length);
    const hash = createSha256(platform);
    hash.update(bytes);
    expect(hash.finish()).toBe(expected(bytes));
  });

  test('is the same however the bytes are cut, views into larger buffers included', () => {
    const bytes = makeBytes(3000);
    for (const step of [1, 7, 63, 64, 65, 500]) {
      const hash = createSha256(platform);
      for (let at = 0; at < bytes.length; at += step) hash.update(bytes.subarray(at, at + step));
      expect(hash.finish()).toBe(expected(bytes));
    }
  });
});
