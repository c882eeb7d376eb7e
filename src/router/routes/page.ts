import { RelayError } from '../../protocol/errors.ts';
import { MAX_LIST_LIMIT } from '../../protocol/limits.ts';
import { sendJson } from '../reply.ts';
import type { Call } from './route.ts';

const DEFAULT_LIST_LIMIT = 100;
/** Longer numbers are no lengths. */
const LIMIT = /^\d{1,15}$/;

/** The page of a listing that a query asks for. @throws {RelayError} invalid_request. */
export function readPage(query: URLSearchParams): { limit: number; cursor?: string } {
  const limit = query.get('limit') ?? String(DEFAULT_LIST_LIMIT);
  if (!LIMIT.test(limit) || Number(limit) < 1)
    throw new RelayError('invalid_request', 'limit must be a whole number from 1, of at most 15 digits');
  const cursor = query.get('cursor');
  return { limit: Math.min(Number(limit), MAX_LIST_LIMIT), ...(cursor !== null && { cursor }) };
}

/** One page of a listing; `Link` names the next one relative to this (RFC 8288). */
export function sendPage(
  { request, response, query }: Pick<Call, 'request' | 'response' | 'query'>,
  body: object,
  limit: number,
  next: string | undefined,
  headers: Record<string, string> = {},
): void {
  if (next === undefined) {
    sendJson(response, 200, body, headers);
    return;
  }
  const following = new URLSearchParams(query);
  following.set('limit', String(limit));
  following.set('cursor', next);
  const path = request.url?.split('?', 1)[0] ?? '';
  const last = path.slice(path.lastIndexOf('/') + 1);
  sendJson(response, 200, { ...body, next }, { ...headers, Link: `<${last}?${following}>; rel="next"` });
}
