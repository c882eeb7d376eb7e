import type { IncomingMessage, ServerResponse } from 'node:http';
import { closeAfterEarlyAnswer, resetConnection } from '../http/connection.ts';
import { renderProblem, toProblem } from '../http/problem.ts';
import type { RelayError } from '../protocol/errors.ts';
import { HEADER } from '../protocol/headers.ts';
import { CHALLENGES } from './access/credential.ts';
import { IdentifiedResponse } from './identified-response.ts';
import { SUBPROTOCOL } from '../protocol/version.ts';

/** Answers with JSON. */
export function sendJson(
  response: ServerResponse,
  status: number,
  body: unknown,
  headers: Record<string, string> = {},
): void {
  const text = JSON.stringify(body);
  response.writeHead(status, {
    'Content-Type': 'application/json',
    'Content-Length': Buffer.byteLength(text),
    'Cache-Control': 'no-store',
    'X-Content-Type-Options': 'nosniff',
    ...headers,
  });
  response.end(text);
}

/**
 * Answers with an error (RFC 9457), or with a line about it where a person reads it. Once a response has begun it cannot say so any more, and its connection is reset, so
 * that what was sent never looks whole.
 * @param status in place of the error's own, where HTTP has one that says more.
 */
export function sendError(
  request: IncomingMessage,
  response: ServerResponse,
  error: RelayError,
  headers: Record<string, string> = {},
  status = error.status,
): void {
  if (response.headersSent) {
    if (!response.writableFinished) resetConnection(request.socket);
    return;
  }
  if (response.destroyed) return;
  const { retry_after: retryAfter, size } = error.details;
  const id = error.details.request_id ?? (response instanceof IdentifiedResponse ? response.requestId : undefined);
  const identified = id === undefined ? error : error.with({ request_id: id });
  const { type, text } = renderProblem(identified, request.headers.accept, status);
  // Node forbids a second answer on a connection whose request body was not read: it is closed after this one.
  const unread = !request.complete && hasBody(request);
  for (const name of response.getHeaderNames()) response.removeHeader(name);
  response.writeHead(status, {
    'Content-Type': type,
    'Content-Length': Buffer.byteLength(text),
    'Cache-Control': 'no-store',
    Vary: 'Accept',
    'X-Content-Type-Options': 'nosniff',
    ...(id !== undefined && { [HEADER.requestId]: id }),
    ...(retryAfter !== undefined && { 'Retry-After': String(retryAfter) }),
    ...(error.code === 'range_not_satisfiable' && size !== undefined && { 'Content-Range': `bytes */${size}` }),
    ...(request.method === 'HEAD' && { [HEADER.problem]: toAscii(JSON.stringify(toProblem(identified, status))) }),
    ...(error.code === 'unauthorized' && { 'WWW-Authenticate': [...CHALLENGES] }),
    ...(unread && { Connection: 'close' }),
    // RFC 9110 §15.5.22: such an answer names what is wanted.
    ...(error.code === 'upgrade_required' && { Upgrade: SUBPROTOCOL, Connection: 'upgrade, close' }),
    ...headers,
  });
  response.end(text);
  if (unread) closeAfterEarlyAnswer(request);
}

/** JSON as a header may carry it: what is not ASCII is written as JSON's own escapes. */
function toAscii(json: string): string {
  return json.replace(/[^\x20-\x7e]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

/** Whether a body was announced (RFC 9112 §6.3). */
function hasBody({ headers }: IncomingMessage): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;
}
