import { prefersText } from './accept.ts';
import { problem as problemSchema, type Problem } from '../protocol/app.ts';
import { decodeValue } from '../protocol/codec.ts';
import { type ErrorDetails, ERRORS, isErrorCode, RelayError } from '../protocol/errors.ts';

/** Media type of an error (RFC 9457 §3). */
const PROBLEM_TYPE = 'application/problem+json';

/** An error as a problem document. `internal` says nothing of its insides. @param status that it is sent with, if not its own. */
export function toProblem(error: RelayError, status = error.status): Problem {
  return {
    type: 'about:blank',
    title: ERRORS[error.code].title,
    status,
    detail: error.code === 'internal' ? ERRORS.internal.title : error.message,
    code: error.code,
    retryable: error.retryable,
    ...withoutUndefined(error.details),
  };
}

/** The body of an error's answer, with its type: a problem document, or one line of text where a person is to read it. */
export function renderProblem(
  error: RelayError,
  accept: string | undefined,
  status?: number,
): { type: string; text: string } {
  const problem = toProblem(error, status);
  if (!prefersText(accept)) return { type: PROBLEM_TYPE, text: JSON.stringify(problem) };
  const { detail = problem.title, code, request_id: id } = problem;
  // A connector's message may have several lines, and more.
  const line = `${detail} (${code}${id === undefined ? '' : `, request ${id}`})`.replaceAll(
    /[\p{Cc}\u2028\u2029]+/gu,
    ' ',
  );
  return { type: 'text/plain; charset=utf-8', text: `${line}\n` };
}

/** The error that a problem document speaks of; undefined where the body is none of relay's. */
export function fromProblem(body: unknown): RelayError | undefined {
  const result = decodeValue(problemSchema, body);
  if (!result.ok || !isErrorCode(result.value.code)) return undefined;
  const { code, detail, title, status: _status, type: _type, ...details } = result.value;
  return new RelayError(code, detail ?? title, { details: withoutUndefined(details) as ErrorDetails });
}

function withoutUndefined<T extends object>(object: T): T {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined)) as T;
}
