import type { IncomingMessage } from 'node:http';
import { RelayError } from '../protocol/errors.ts';

/** How much of a body is looked at to say whose it was. */
const BEGINNING_BYTES = 4096;

/** What the owner of a body wants to know of it while it comes. */
export interface BodyWatch {
  /** Called with each piece's length when it comes; throws to refuse it. */
  readonly reserve?: (bytes: number) => void;
  /** Called with the beginning of a body that is refused; gives the error to throw. */
  readonly refuse?: (error: RelayError, beginning: string) => RelayError;
}

/**
 * Reads a whole message body into memory.
 * @param limit most bytes that are taken in; above it nothing more is kept.
 * @throws {RelayError} invalid_request when the body is larger than `limit`; transfer_interrupted when it breaks off.
 */
export async function readBody(message: IncomingMessage, limit: number, watch: BodyWatch = {}): Promise<Buffer> {
  const declared = Number(message.headers['content-length'] ?? 0);
  const pieces: Buffer[] = [];
  let length = 0;
  const take = (piece: Buffer): void => {
    pieces.push(piece);
    length += piece.length;
    if (length > limit || declared > limit) throw tooLarge(limit);
    watch.reserve?.(piece.length);
  };
  try {
    for await (const piece of message.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) take(piece);
  } catch (thrown) {
    const error = RelayError.from(thrown, 'transfer_interrupted');
    if (error.code === 'transfer_interrupted' || watch.refuse === undefined) throw error;
    throw watch.refuse(error, Buffer.concat(pieces, Math.min(length, BEGINNING_BYTES)).toString('latin1'));
  }
  return pieces.length === 1 ? (pieces[0] as Buffer) : Buffer.concat(pieces, length);
}

function tooLarge(limit: number): RelayError {
  return new RelayError('invalid_request', `the body is larger than ${limit} bytes`, { details: { limit } });
}
