import { toProblem } from '../../http/problem.ts';
import type { RelayError } from '../../index.ts';
import { ERRORS } from '../../protocol/errors.ts';

/** An error as one line of JSON: a problem document (RFC 9457), without a status where it never travels over HTTP. */
export function toProblemLine(error: RelayError): string {
  const { status, ...problem } = toProblem(error);
  return `${JSON.stringify({ ...problem, ...(ERRORS[error.code].status !== null && { status }) })}\n`;
}
