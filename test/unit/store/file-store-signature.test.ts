import { randomBytes } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import { RelayError } from '../../../src/protocol/errors.ts';
import {
  loadSigningKey,
  type SignedParts,
  signPath,
  verifySignature,
} from '../../../src/store/file-store-signature.ts';

const KEY = randomBytes(32);
const LATER = new Date(2_000_000_000_000);
const NOW = new Date(1_900_000_000_000);

/** @returns the code of the refusal; undefined where the signature is good. */
function verify(url: string, method: SignedParts['method'], now = NOW, key = KEY): string | undefined {
  const { pathname, searchParams } = new URL(url, 'http://router.invalid');
  try {
    verifySignature(key, { method, path: pathname }, searchParams, now);
    return undefined;
  } catch (error) {
    return (error as RelayError).code;
  }
}

describe('signature of the file store', () => {
  const method = fc.constantFrom<SignedParts['method']>('PUT', 'GET');
  const path = fc.stringMatching(/^\/store\/objects\/[A-Za-z0-9_-]{1,20}\/[A-Za-z0-9_-]{1,20}$/);
  const filename = fc.option(fc.string({ unit: 'grapheme' }), { nil: undefined });
  const parts = fc
    .record({ method, path, filename })
    .map(({ filename: name, ...rest }): SignedParts => ({ ...rest, ...(name !== undefined && { filename: name }) }));
  const expiry = fc.date({
    min: new Date(NOW.getTime() + 1000),
    max: new Date(8_000_000_000_000),
    noInvalidDate: true,
  });

  it('accepts what it signed, until its time and not after', () => {
    fc.assert(
      fc.property(parts, expiry, (signed, expiresAt) => {
        const url = signPath(KEY, signed, expiresAt);
        const seconds = Math.floor(expiresAt.getTime() / 1000) * 1000;
        expect(verify(url, signed.method)).toBeUndefined();
        expect(verify(url, signed.method, new Date(seconds - 1))).toBeUndefined();
        expect(verify(url, signed.method, new Date(seconds))).toBe('url_expired');
      }),
    );
  });

  it('gives back the file name that was signed', () => {
    fc.assert(
      fc.property(parts, (signed) => {
        const { pathname, searchParams } = new URL(signPath(KEY, signed, LATER), 'http://router.invalid');
        const name = verifySignature(KEY, { method: signed.method, path: pathname }, searchParams, NOW);
        expect(name).toBe(signed.filename);
      }),
    );
  });

  it('refuses whatever differs from what was signed', () => {
    fc.assert(
      fc.property(parts, parts, expiry, expiry, (signed, other, expiresAt, otherExpiry) => {
        const url = new URL(signPath(KEY, signed, expiresAt), 'http://router.invalid');
        const foreign = new URL(signPath(KEY, other, otherExpiry), 'http://router.invalid');
        foreign.searchParams.set('signature', String(url.searchParams.get('signature')));
        const isSame =
          foreign.href === url.href && signed.method === other.method && signed.filename === other.filename;
        expect(verify(foreign.href, other.method)).toBe(isSame ? undefined : 'forbidden');
      }),
    );
  });

  it('refuses a change of any character of the query', () => {
    const url = signPath(KEY, { method: 'GET', path: '/store/objects/a/b', filename: 'data.csv' }, LATER);
    const start = url.indexOf('?') + 1;
    fc.assert(
      fc.property(
        fc.integer({ min: start, max: url.length - 1 }),
        fc.constantFrom('a', 'B', '3', '-', '_', '=', '&', '%'),
        (at, character) => {
          fc.pre(url[at] !== character);
          const changed = url.slice(0, at) + character + url.slice(at + 1);
          expect(verify(changed, 'GET')).toBe('forbidden');
        },
      ),
    );
  });

  it('never fails otherwise, whatever the query', () => {
    fc.assert(
      fc.property(
        path,
        fc.string({ unit: 'binary' }),
        fc.string({ unit: 'binary' }),
        (somePath, expires, signature) => {
          const query = new URLSearchParams({ expires, signature });
          expect(() => verifySignature(KEY, { method: 'GET', path: somePath }, query, NOW)).toThrow(
            expect.objectContaining({ code: 'forbidden' }),
          );
        },
      ),
    );
  });

  it('refuses what another key signed', () => {
    const url = signPath(randomBytes(32), { method: 'GET', path: '/store/objects/a' }, LATER);
    expect(verify(url, 'GET')).toBe('forbidden');
  });
});

describe('signing key', () => {
  let directory: string;

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'relay-key-'));
  });
  afterEach(async () => {
    await rm(directory, { recursive: true });
  });

  it('is made once, for its owner alone, and found again', async () => {
    const stateDir = join(directory, 'state');
    const key = await loadSigningKey(stateDir);
    expect(key).toHaveLength(32);
    expect((await stat(join(stateDir, 'store-key'))).mode & 0o777).toBe(0o600);
    expect(await loadSigningKey(stateDir)).toEqual(key);
    expect(await readFile(join(stateDir, 'store-key'))).toEqual(key);
  });

  it('is the same for all who ask at once', async () => {
    const keys = await Promise.all(Array.from({ length: 20 }, () => loadSigningKey(directory)));
    expect(new Set(keys.map((key) => key.toString('hex'))).size).toBe(1);
    expect(await readdir(directory)).toEqual(['store-key']);
  });

  it('is refused when it is damaged, or cannot be read', async () => {
    await writeFile(join(directory, 'store-key'), 'short');
    await expect(loadSigningKey(directory)).rejects.toMatchObject({ code: 'store_unavailable' });
    await expect(loadSigningKey('/dev/null')).rejects.toMatchObject({ code: 'store_unavailable' });
  });
});
