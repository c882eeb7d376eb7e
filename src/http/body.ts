import type { IncomingMessage } from 'node:http';
import { RelayError } from '../protocol/errors.ts';

/**
 * Reads a whole message body into memory.
 * @param limit most bytes that are taken in; above it nothing more is kept.
 * @param reserve called with each piece's length before it is kept; throws to refuse it.
 * @throws {RelayError} invalid_request when the body is larger than `limit`; transfer_interrupted when it breaks off.
 */
export async function readBody(
  message: IncomingMessage,
  limit: number,
  reserve?: (bytes: number) => void,
): Promise<Buffer> {
  const declared = Number(message.headers['content-length'] ?? 0);
  if (declared > limit) throw tooLarge(limit);
  const pieces: Buffer[] = [];
  let length = 0;
  try {
    for await (const piece of message as AsyncIterable<Buffer>) {
      length += piece.length;
      if (length > limit) throw tooLarge(limit);
      reserve?.(piece.length);
      pieces.push(piece);
    }
  } catch (cause) {
    throw RelayError.from(cause, 'transfer_interrupted');
  }
  return pieces.length === 1 ? (pieces[0] as Buffer) : Buffer.concat(pieces, length);
}

function tooLarge(limit: number): RelayError {
  return new RelayError('invalid_request', `the body is larger than ${limit} bytes`, { details: { limit } });
}
