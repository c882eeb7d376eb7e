import { digestToHex } from '../http/digest.ts';
import { RelayError } from '../protocol/errors.ts';

/** What was received, to be held against what was promised. */
export interface Received {
  readonly size: number;
  /** SHA-256 of the bytes, `sha-256=:…:`. */
  readonly digest: string;
}

/** What came of a transfer. */
export interface Receipt extends Received {
  /** Whether a digest of the sender's agreed; else only the size was checked, where it was known. */
  readonly verified: boolean;
}

/**
 * Compares what arrived with what was promised.
 * @param requireDigest whether to fail without a digest. Default false.
 * @throws {RelayError} content_mismatch when size or digest differ; unverified without a digest where one is required.
 */
export async function verify(
  received: Received,
  promised: { readonly size?: number | undefined; digest(): Promise<string | undefined> },
  requireDigest = false,
): Promise<Receipt> {
  if (promised.size !== undefined && promised.size !== received.size) {
    throw new RelayError(
      'content_mismatch',
      `${received.size} bytes arrived, and ${promised.size} were promised: nothing of it can be trusted`,
    );
  }
  const digest = await promised.digest();
  if (digest === undefined) {
    if (requireDigest) throw new RelayError('unverified', 'the node gave no digest to verify the content by');
    return { ...received, verified: false };
  }
  if (digest !== received.digest) {
    throw new RelayError(
      'content_mismatch',
      `the SHA-256 of what arrived is ${digestToHex(received.digest)}, and ${digestToHex(digest)} was promised: nothing of it can be trusted`,
    );
  }
  return { ...received, verified: true };
}
