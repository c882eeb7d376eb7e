import { describe, expect, test } from '@jest/globals';
import type { DatasetName } from '../../../../src/protocol/dataset-name.ts';
import type { Mac } from '../../../../src/protocol/mac.ts';
import { idOf } from '../../../../src/router/access/token.ts';
import { type SignedDataset, UrlSigner } from '../../../../src/router/access/url-signer.ts';

const FIRST = 'the first secret of more than thirty-two characters';
const SECOND = 'the second secret of more than thirty-two characters';
const SIGNED: SignedDataset = { mac: 'cc-28-aa-01-02-03' as Mac, dataset: 'a/b.csv' as DatasetName };
const EXPIRES = 2_000_000_000;
const BEFORE = new Date((EXPIRES - 1) * 1000);

const verify = (signer: UrlSigner, query: string, signed = SIGNED, now = BEFORE): number =>
  signer.verify(signed, new URLSearchParams(query), now);
const failing = (code: string): unknown => expect.objectContaining({ code });

describe('the signature of a URL', () => {
  const secrets = [FIRST];
  const signer = new UrlSigner(() => secrets);
  const query = signer.sign(SIGNED, EXPIRES, idOf(FIRST));

  test('is good until it expires', () => {
    expect(verify(signer, query)).toBe(EXPIRES);
    expect(() => verify(signer, query, SIGNED, new Date(EXPIRES * 1000))).toThrow(failing('url_expired'));
  });

  test('covers connector, dataset and expiry', () => {
    const others: [SignedDataset, string][] = [
      [{ ...SIGNED, mac: 'cc-28-aa-01-02-04' as Mac }, query],
      [{ ...SIGNED, dataset: 'a/c.csv' as DatasetName }, query],
      [SIGNED, query.replace(String(EXPIRES), String(EXPIRES + 1))],
      [SIGNED, query.replace(/signature=./, 'signature=')],
      [SIGNED, query.replace(/signature=.*/, 'signature=')],
      [SIGNED, query.replace(/expires=\d+/, '')],
      // Line breaks lie between what is signed.
      [{ ...SIGNED, dataset: `${EXPIRES}\na/b.csv` as DatasetName }, query.replace(String(EXPIRES), '')],
    ];
    for (const [signed, text] of others) expect(() => verify(signer, text, signed)).toThrow(failing('forbidden'));
  });

  test('of one that was forged is forbidden also where it has expired', () => {
    expect(() => verify(signer, `expires=1&signature=${'A'.repeat(43)}`)).toThrow(failing('forbidden'));
  });

  test('is verified with every secret, and ends with the one of its token', () => {
    let now: readonly string[] = [FIRST];
    const rotating = new UrlSigner(() => now);
    const old = rotating.sign(SIGNED, EXPIRES, idOf(FIRST));
    now = [SECOND, FIRST];
    const renewed = rotating.sign(SIGNED, EXPIRES, idOf(SECOND));
    const kept = rotating.sign(SIGNED, EXPIRES, idOf(FIRST));
    expect(kept).toBe(old);
    for (const each of [old, renewed]) expect(() => verify(rotating, each)).not.toThrow();
    now = [SECOND];
    expect(() => verify(rotating, renewed)).not.toThrow();
    expect(() => verify(rotating, old)).toThrow(failing('forbidden'));
    expect(() => rotating.sign(SIGNED, EXPIRES, idOf(FIRST))).toThrow(failing('unauthorized'));
  });
});
