import { createHash } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { createDigest, digestToHex, finishDigest, parseDigest, wantsDigest } from '../../../src/http/digest.ts';
import { digest } from '../protocol/arbitraries.ts';

/** The examples of RFC 9530, Appendix B: `{"hello": "world"}` and a line feed. */
const RFC_CONTENT = '{"hello": "world"}\n';
const RFC_DIGEST = 'sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:';
const EMPTY_DIGEST = 'sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:';

const digestOf = (...pieces: (string | Uint8Array)[]): string => {
  const hash = createDigest();
  for (const piece of pieces) hash.update(piece);
  return finishDigest(hash);
};

describe('a digest', () => {
  test('is the one of RFC 9530', () => {
    expect(digestOf(RFC_CONTENT)).toBe(RFC_DIGEST);
    expect(digestOf()).toBe(EMPTY_DIGEST);
  });

  test('is the same however the content is cut, and as sha256sum prints it', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array()), (pieces) => {
        const whole = Buffer.concat(pieces);
        const made = digestOf(...pieces);
        expect(made).toBe(digestOf(whole));
        expect(digestToHex(made)).toBe(createHash('sha256').update(whole).digest('hex'));
        expect(parseDigest(made)).toBe(made);
      }),
    );
  });
});

describe('a Repr-Digest field', () => {
  test.each([
    RFC_DIGEST,
    ` ${RFC_DIGEST}`,
    `sha-512=:YMAam51Jz/jOATT6/zvHrLVgOYTGFy1d6GJiOHTohq4yP+pgk4vf2aCsyRZOtw8MjkM7iw7yZ/WkppmM44T3qg==:, ${RFC_DIGEST}`,
    `${RFC_DIGEST},sha-512=:AAAA:`,
    `unixsum=30637,${RFC_DIGEST}`,
  ])('gives its SHA-256: %s', (field) => {
    expect(parseDigest(field)).toBe(RFC_DIGEST);
  });

  test.each([
    null,
    undefined,
    '',
    'sha-512=:AAAA:',
    'sha-256',
    'sha-256=abc',
    'sha-256=::',
    'sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg:',
    'sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=',
    'sha-256=:RK_0qy18MlBSVnWgjwz6lZEWjP_lF5HF9bvEF8FabDg=:',
    'x-sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:',
    'sha-256=:AAAA:',
  ])('gives none: %p', (field) => {
    expect(parseDigest(field)).toBeUndefined();
  });

  test('has one written form, also where the last character was coded carelessly', () => {
    expect(parseDigest(RFC_DIGEST.replace('g=:', 'h=:'))).toBe(RFC_DIGEST);
  });

  test('is read among any other members', () => {
    const others = fc.array(fc.constantFrom('sha-512=:AAAA:', 'md5=:AAAA:', 'unixsum=1'));
    fc.assert(
      fc.property(others, digest, others, (before, value, after) => {
        expect(parseDigest([...before, value, ...after].join(', '))).toBe(value);
      }),
    );
  });

  test('is never anything but a digest, whatever came', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), digest), fc.string(), (a, b) => {
        const value = parseDigest(a + b);
        if (value !== undefined) expect(Buffer.from(digestToHex(value), 'hex')).toHaveLength(32);
      }),
    );
  });
});

describe('a Want-Repr-Digest field', () => {
  test.each(Array.from({ length: 11 }, (_, weight) => weight))(
    'asks for SHA-256 with a weight above 0: %i',
    (weight) => {
      expect(wantsDigest(`sha-256=${weight}`)).toBe(weight > 0);
    },
  );

  test.each([
    ['sha-512=3, sha-256=10, unixsum=0', true],
    ['sha-256=1', true],
    ['sha-256=1,sha-512=2', true],
    [' sha-256=5 ', true],
    ['sha-256', true],
    [['sha-512=1', 'sha-256=1'], true],
    ['sha-512=3', false],
    ['sha-256=0, sha-512=1', false],
    ['sha-256=11', false],
    ['sha-256=-1', false],
    ['sha-256=0.5', false],
    ['sha-256=', false],
    ['sha-256=?1', false],
    ['xsha-256=1', false],
    ['sha-256x=1', false],
    ['', false],
    [',', false],
    [null, false],
    [undefined, false],
    [[], false],
  ])('%p asks: %p', (field, expected) => {
    expect(wantsDigest(field)).toBe(expected);
  });

  test('never throws', () => {
    fc.assert(fc.property(fc.string({ unit: 'binary' }), (field) => typeof wantsDigest(field) === 'boolean'));
  });
});
