import { STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import { endWith } from '../http/connection.ts';
import { renderProblem } from '../http/problem.ts';
import type { RelayError } from '../protocol/errors.ts';
import { HEADER } from '../protocol/headers.ts';

interface BareAnswer {
  /** Default the error's own. */
  readonly status?: number;
  /** What the request accepts, where that is known. */
  readonly accept?: string | undefined;
  /** Further lines of the head. */
  readonly fields?: readonly string[];
}

/** Answers with an error on a socket that has no response, and ends it. */
export function endWithProblem(socket: Socket, error: RelayError, answer: BareAnswer = {}): void {
  const { status = error.status, accept, fields = [] } = answer;
  const { type, text } = renderProblem(error, accept, status);
  const { retry_after: retryAfter, request_id: id } = error.details;
  const head = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}`,
    'Connection: close',
    `Content-Type: ${type}`,
    'Cache-Control: no-store',
    'Vary: Accept',
    'X-Content-Type-Options: nosniff',
    `Content-Length: ${Buffer.byteLength(text)}`,
    ...(id === undefined ? [] : [`${HEADER.requestId}: ${id}`]),
    ...(retryAfter === undefined ? [] : [`Retry-After: ${retryAfter}`]),
    ...fields,
  ];
  endWith(socket, `${head.join('\r\n')}\r\n\r\n${text}`);
}
