import type { IncomingMessage } from 'node:http';
import type * as z from 'zod';
import { type BodyWatch, readBody } from '../../http/body.ts';
import { type Decoded, decodeJson, undecodable } from '../../protocol/codec.ts';
import { RelayError } from '../../protocol/errors.ts';
import type { Context } from '../context.ts';

const utf8 = new TextDecoder('utf-8', { fatal: true });

/**
 * Reads a JSON body and checks it. It has to come in time, and its memory counts: by the router's limit for bodies, or by
 * `watch` where it reserves.
 * @throws {RelayError} invalid_request when it is too large, no UTF-8, no JSON or does not fit; request_timeout when it comes
 * too slowly; overloaded when there is no memory for it; transfer_interrupted.
 */
export async function readJson<T>(
  { limits }: Pick<Context, 'limits'>,
  request: IncomingMessage,
  schema: z.ZodType<T>,
  limit: number,
  watch?: BodyWatch,
): Promise<T> {
  let reserved = 0;
  const reserve = (bytes: number): void => {
    limits.bodies.reserve(bytes);
    reserved += bytes;
  };
  try {
    const body = await readBody(request, limit, { reserve, pace: limits.bodyPace, ...watch });
    const read = decode(schema, body);
    if (!read.ok) throw watch?.refuse?.(read.error, body.toString('latin1')) ?? read.error;
    return read.value;
  } catch (thrown) {
    const error = RelayError.from(thrown);
    if (error.code === 'request_timeout') limits.noteSlowBody(request);
    // Only a body over its limit says what that is.
    if (error.details.limit !== undefined) limits.noteLargeBody(request);
    throw error;
  } finally {
    limits.bodies.release(reserved);
  }
}

function decode<T>(schema: z.ZodType<T>, body: Buffer): Decoded<T> {
  let text: string;
  try {
    text = utf8.decode(body);
  } catch (cause) {
    return undecodable(new RelayError('invalid_request', 'the body is not valid UTF-8', { cause }));
  }
  return decodeJson(schema, text);
}
