import type { IncomingMessage } from 'node:http';
import type * as z from 'zod';
import { type BodyWatch, readBody } from '../../http/body.ts';
import { decodeJson, unwrap } from '../../protocol/codec.ts';
import { RelayError } from '../../protocol/errors.ts';

const utf8 = new TextDecoder('utf-8', { fatal: true });

/**
 * Reads a JSON body and checks it.
 * @throws {RelayError} invalid_request when it is too large, no UTF-8, no JSON or does not fit; transfer_interrupted.
 */
export async function readJson<T>(
  request: IncomingMessage,
  schema: z.ZodType<T>,
  limit: number,
  watch?: BodyWatch,
): Promise<T> {
  const body = await readBody(request, limit, watch);
  let text: string;
  try {
    text = utf8.decode(body);
  } catch (cause) {
    throw new RelayError('invalid_request', 'the body is not valid UTF-8', { cause });
  }
  return unwrap(decodeJson(schema, text));
}
