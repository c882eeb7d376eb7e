import type * as z from 'zod';
import { RelayError, type ErrorCode } from './errors.ts';

/** What decoding foreign input gives: never an exception. */
export type Decoded<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly error: RelayError };

/** A decoded value. */
const decoded = <T>(value: T): Decoded<T> => ({ ok: true, value });

/** Input that cannot be decoded, with the reason. */
export const undecodable = (error: RelayError): Decoded<never> => ({ ok: false, error });

/**
 * Checks a value that came from outside against its schema. Unknown fields pass and are dropped.
 * @param code what a misfit becomes: `invalid_request` by default.
 */
export function decodeValue<T>(schema: z.ZodType<T>, value: unknown, code: ErrorCode = 'invalid_request'): Decoded<T> {
  const result = schema.safeParse(value);
  if (result.success) return decoded(result.data);
  return undecodable(new RelayError(code, describeIssues(result.error)));
}

/** Parses JSON text and checks it against its schema. See {@link decodeValue}. */
export function decodeJson<T>(schema: z.ZodType<T>, text: string, code: ErrorCode = 'invalid_request'): Decoded<T> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    return undecodable(new RelayError(code, `malformed JSON: ${(cause as Error).message}`, { cause }));
  }
  return decodeValue(schema, value, code);
}

/** The value, or the error thrown. For the edge where an error is about to become an answer. */
export function unwrap<T>(result: Decoded<T>): T {
  if (!result.ok) throw result.error;
  return result.value;
}

function describeIssues(error: z.ZodError): string {
  return error.issues
    .slice(0, 3)
    .map((issue) =>
      issue.path.length === 0 ? issue.message : `field ${issue.path.map(String).join('.')}: ${issue.message}`,
    )
    .join('; ');
}
