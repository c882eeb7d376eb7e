import type { IncomingMessage, ServerResponse } from 'node:http';
import { RelayError } from '../protocol/errors.ts';

/** Whether all that a request expects is what there is, 100-continue (RFC 9110 §10.1.1), which Node.js has answered. */
export const isExpectationMet = ({ headers: { expect } }: IncomingMessage): boolean =>
  expect === undefined || /(?:^|\W)100-continue(?:$|\W)/i.test(expect);

/** @throws {RelayError} invalid_request without the `Host` that HTTP/1.1 asks for (RFC 9112 §3.2). */
export function requireHost(request: IncomingMessage, response: ServerResponse): void {
  if (request.headers.host !== undefined || request.httpVersion === '1.0') return;
  response.shouldKeepAlive = false;
  throw new RelayError('invalid_request', 'the request has no Host');
}
