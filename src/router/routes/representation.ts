import type { IncomingMessage } from 'node:http';
import { type Coding, chooseCoding } from '../../http/content-coding.ts';
import { wantsDigest } from '../../http/digest.ts';

/** How an app wants the bytes of a dataset. */
export interface Representation {
  /** Bring the SHA-256 of the whole, where the connector can. */
  readonly wantDigest: boolean;
  /** The coding that the content may have. */
  readonly coding: Coding | undefined;
  /** A length rather than a trailer: whoever asks for it learns the digest by the request's id. */
  readonly preferLength: boolean;
}

/**
 * Reads what a request says of it. A `Repr-Digest` is that of the content as it is sent, which only the dataset itself has:
 * who asks for that alone gets it as it is. An `Unencoded-Digest` is that of the dataset, however it is sent.
 */
export function readRepresentation({ headers }: IncomingMessage): Representation {
  const wantsRepr = wantsDigest(headers['want-repr-digest']);
  const wantsUnencoded = wantsDigest(headers['want-unencoded-digest']);
  return {
    wantDigest: wantsRepr || wantsUnencoded,
    coding: wantsRepr && !wantsUnencoded ? undefined : chooseCoding(headers['accept-encoding']),
    preferLength: /(?:^|,)\s*length\s*(?:$|,|;)/i.test([headers['prefer'] ?? []].flat().join(',')),
  };
}
