import { createHmac, hkdfSync, timingSafeEqual } from 'node:crypto';
import type { DatasetName } from '../../protocol/dataset-name.ts';
import { RelayError } from '../../protocol/errors.ts';
import type { Mac } from '../../protocol/mac.ts';
import { urlExpired } from './grant.ts';
import { idOf } from './token.ts';

/** What the key is for, so that no other signature made with the same secret can pass for one of these. */
const PURPOSE = 'relay: URLs of datasets, 1';
const KEY_BYTES = 32;

/** What a URL is signed for. Nothing of host or prefix: they may differ for each who uses it. */
export interface SignedDataset {
  readonly mac: Mac;
  readonly dataset: DatasetName;
}

/** Signs URLs of single datasets, for who cannot send a token, with the secrets that there are at the moment. */
export class UrlSigner {
  readonly #readSecrets: () => readonly string[];
  #secrets: readonly string[] = [];
  #keys = new Map<string, Buffer>();

  /** @param readSecrets the secrets of now; asked each time, so that a changed file counts at once. */
  constructor(readSecrets: () => readonly string[]) {
    this.#readSecrets = readSecrets;
  }

  /**
   * The query that makes a dataset's URL good for whoever holds it: `expires=SECONDS&signature=HMAC`.
   * @param keyId the secret of the token that is asked with: the URL ends with that secret, as the token does.
   * @throws {RelayError} unauthorized when that was taken away just now.
   */
  sign(signed: SignedDataset, expiresAtSeconds: number, keyId: string): string {
    const key = this.#currentKeys().get(keyId);
    if (key === undefined)
      throw new RelayError('unauthorized', 'the secret of the token is no longer one of this router');
    const expires = String(expiresAtSeconds);
    return String(new URLSearchParams({ expires, signature: computeSignature(key, signed, expires) }));
  }

  /** Whether a query has a signature, be it good or not. */
  static isSigned(query: URLSearchParams): boolean {
    return query.has('signature');
  }

  /**
   * Checks the signature in a query, in constant time, and then its expiry.
   * @returns when the URL ends, in seconds since 1970.
   * @throws {RelayError} forbidden when it does not fit; url_expired when it did but its time has passed.
   */
  verify(signed: SignedDataset, query: URLSearchParams, now: Date): number {
    const expires = query.get('expires') ?? '';
    // As text: several texts decode to the same bytes.
    const given = Buffer.from(query.get('signature') ?? '');
    const isGood = [...this.#currentKeys().values()].some((key) => {
      const expected = Buffer.from(computeSignature(key, signed, expires));
      return given.length === expected.length && timingSafeEqual(given, expected);
    });
    if (!isGood || !/^\d{1,12}$/.test(expires))
      throw new RelayError('forbidden', 'the URL is not signed by this router, or was changed');
    const endsAt = new Date(Number(expires) * 1000);
    if (endsAt > now) return Number(expires);
    throw urlExpired(endsAt);
  }

  #currentKeys(): ReadonlyMap<string, Buffer> {
    const secrets = this.#readSecrets();
    if (secrets === this.#secrets) return this.#keys;
    this.#secrets = secrets;
    this.#keys = new Map(secrets.map((secret) => [idOf(secret), deriveKey(secret)]));
    return this.#keys;
  }
}

const deriveKey = (secret: string): Buffer => Buffer.from(hkdfSync('sha256', secret, '', PURPOSE, KEY_BYTES));

function computeSignature(key: Buffer, { mac, dataset }: SignedDataset, expires: string): string {
  // The name comes last because it alone may contain a line break.
  return createHmac('sha256', key).update([mac, expires, dataset].join('\n')).digest('base64url');
}
