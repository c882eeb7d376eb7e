import { createHmac } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { signToken, TokenVerifier, type Verdict } from '../../../../src/router/access/token.ts';
import type { Mac } from '../../../../src/protocol/mac.ts';

const SECRET = 'a secret of more than thirty-two characters';
const OTHER = 'another secret of more than thirty-two characters';
const MAC = 'cc-28-aa-01-02-03' as Mac;
const inSeconds = (seconds: number): number => Math.floor(Date.now() / 1000) + seconds;

/** A JWT made by hand, so that it can be wrong in ways that a library refuses to make. */
function forge(header: object, payload: object | string, secret = SECRET, hash = 'sha256'): string {
  const encode = (part: object | string): string =>
    Buffer.from(typeof part === 'string' ? part : JSON.stringify(part)).toString('base64url');
  const text = `${encode(header)}.${encode(payload)}`;
  return `${text}.${createHmac(hash, secret).update(text).digest('base64url')}`;
}

const GOOD = { role: 'app', macs: [MAC], datasets: ['**'], exp: inSeconds(60) };
const HS256 = { alg: 'HS256', typ: 'JWT' };
const verifier = (...secrets: string[]): TokenVerifier => new TokenVerifier(() => secrets);
const verify = async (by: TokenVerifier, token: string): Promise<Verdict> => by.recall(token) ?? by.check(token);

describe('a token', () => {
  test('comes back as it was made, with an id of its own', async () => {
    const exp = inSeconds(60);
    const token = await signToken({ role: 'connector', macs: [MAC], exp }, SECRET);
    const verdict = await verify(verifier(SECRET), token);
    expect(verdict).toMatchObject({ ok: true, claims: { role: 'connector', macs: [MAC], exp } });
    const other = await signToken({ role: 'connector', macs: [MAC], exp }, SECRET);
    expect(other).not.toBe(token);
  });

  test('may be made by another program, with a MAC address in any spelling', async () => {
    const token = forge(HS256, { ...GOOD, macs: ['CC:28:AA:01:02:03', '*'], iss: 'somebody', more: { of: 'it' } });
    expect(await verify(verifier(SECRET), token)).toMatchObject({ ok: true, claims: { macs: [MAC, '*'] } });
  });

  test('is verified by every secret that there is', async () => {
    const token = await signToken({ role: 'monitor', macs: ['*'] }, OTHER);
    expect(await verify(verifier(SECRET, OTHER), token)).toMatchObject({ ok: true });
    expect(await verify(verifier(SECRET), token)).toEqual({ ok: false, fault: 'signature' });
  });

  test.each<[string, string, string]>([
    ['nothing', '', 'malformed'],
    ['a word', 'hello', 'malformed'],
    ['three dots', '..', 'malformed'],
    ['alg none', forge({ alg: 'none' }, GOOD).replace(/[^.]+$/, ''), 'malformed'],
    ['alg none with a signature', forge({ alg: 'none' }, GOOD), 'malformed'],
    ['alg in another spelling', forge({ alg: 'hs256' }, GOOD), 'malformed'],
    ['another hash', forge({ alg: 'HS512' }, GOOD, SECRET, 'sha512'), 'malformed'],
    ['a foreign key', forge(HS256, GOOD, OTHER), 'signature'],
    ['an empty key', forge(HS256, GOOD, ''), 'signature'],
    ['a cut signature', forge(HS256, GOOD).slice(0, -3), 'signature'],
    [
      'other claims under the same signature',
      forge(HS256, GOOD).replace(/\.[^.]+\./, `.${Buffer.from('{}').toString('base64url')}.`),
      'signature',
    ],
    ['expired', forge(HS256, { ...GOOD, exp: inSeconds(-1) }), 'expired'],
    ['expired at this second', forge(HS256, { ...GOOD, exp: inSeconds(0) }), 'expired'],
    ['not valid yet', forge(HS256, { ...GOOD, nbf: inSeconds(60) }), 'not_yet_valid'],
    ['no JSON', forge(HS256, 'hello'), 'malformed'],
    ['a list', forge(HS256, []), 'malformed'],
    ['no role', forge(HS256, { macs: ['*'] }), 'malformed'],
    ['a role that there is not', forge(HS256, { ...GOOD, role: 'admin' }), 'malformed'],
    ['no MAC', forge(HS256, { ...GOOD, macs: [] }), 'malformed'],
    ['MACs that are none', forge(HS256, { ...GOOD, macs: 'all' }), 'malformed'],
    ['an end that is no number', forge(HS256, { ...GOOD, exp: 'never' }), 'malformed'],
    ['a critical extension', forge({ ...HS256, crit: ['b64'], b64: false }, GOOD), 'malformed'],
    ['more than a token has', forge(HS256, { ...GOOD, much: 'x'.repeat(9000) }), 'malformed'],
  ])('is refused: %s', async (_, token, fault) => {
    expect(await verify(verifier(SECRET), token)).toEqual({ ok: false, fault });
  });

  test('is never taken for good, and never throws, whatever it is', async () => {
    const tries = verifier(SECRET);
    await fc.assert(
      fc.asyncProperty(
        fc.oneof(fc.string(), fc.tuple(fc.base64String(), fc.base64String(), fc.base64String())),
        async (parts) => {
          const verdict = await verify(tries, typeof parts === 'string' ? parts : parts.join('.'));
          expect(verdict.ok).toBe(false);
        },
      ),
      { numRuns: 300 },
    );
  });
});

describe('a token that was good before', () => {
  test('is answered at once, until it expires', async () => {
    const tokens = verifier(SECRET);
    const token = forge(HS256, { ...GOOD, exp: inSeconds(2) });
    expect(await verify(tokens, token)).toMatchObject({ ok: true });
    let verdict = tokens.recall(token) as Verdict;
    expect(verdict).toMatchObject({ ok: true });
    const end = Date.now() + 10_000;
    // Its end is a moment of the clock, which nothing announces.
    while (verdict.ok && Date.now() < end) {
      await new Promise((resolve) => setTimeout(resolve, 50));
      verdict = await verify(tokens, token);
    }
    expect(verdict).toEqual({ ok: false, fault: 'expired' });
    expect(await verify(tokens, token)).toEqual({ ok: false, fault: 'expired' });
  });

  test('is not good any more once its secret is gone', async () => {
    let secrets: readonly string[] = [SECRET];
    const tokens = new TokenVerifier(() => secrets);
    const token = await signToken({ role: 'monitor', macs: ['*'] }, SECRET);
    const verdict = await verify(tokens, token);
    const keyId = verdict.ok ? verdict.keyId : '';
    expect(tokens.knows(keyId)).toBe(true);
    secrets = [OTHER, SECRET];
    expect(await verify(tokens, token)).toMatchObject({ ok: true, keyId });
    secrets = [OTHER];
    expect(tokens.knows(keyId)).toBe(false);
    expect(await verify(tokens, token)).toEqual({ ok: false, fault: 'signature' });
  });
});
