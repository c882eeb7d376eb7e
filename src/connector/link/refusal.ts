import type { IncomingMessage } from 'node:http';
import { readBody } from '../../http/body.ts';
import { fromProblem } from '../../http/problem.ts';
import { nameProxy, toProxyRefusal } from '../../http/proxy/proxy-error.ts';
import type { RelayError } from '../../protocol/errors.ts';
import { LinkError } from './link.ts';

const MAX_PROBLEM_BYTES = 64 * 1024;
const READ_TIMEOUT_MS = 2000;

/**
 * Makes an answer that is no link into an error in plain words, with the router's own where it gave any.
 * @param proxy the proxy by which the request went, if any.
 */
export async function readRefusal(
  response: IncomingMessage,
  wanted: string,
  proxy: URL | undefined,
): Promise<LinkError> {
  const status = response.statusCode ?? 0;
  const problem = await readProblem(response);
  if (problem !== undefined) {
    const text = `the router refused the connection: ${problem.message}`;
    return new LinkError('transport', text, { status, code: problem.code, cause: problem });
  }
  if (proxy !== undefined && status === 407) {
    const cause = toProxyRefusal(proxy, status, 'the router');
    return new LinkError('transport', cause.message, { status, cause });
  }
  const way = proxy === undefined ? '' : `; the request went through the proxy ${nameProxy(proxy)}`;
  return new LinkError('transport', `${explain(response, status, wanted)}${way}`, { status });
}

async function readProblem(response: IncomingMessage): Promise<RelayError | undefined> {
  const timer = setTimeout(() => response.destroy(), READ_TIMEOUT_MS);
  try {
    return fromProblem(JSON.parse((await readBody(response, MAX_PROBLEM_BYTES)).toString('utf8')));
  } catch {
    return undefined;
  } finally {
    clearTimeout(timer);
    response.destroy();
  }
}

function explain(response: IncomingMessage, status: number, wanted: string): string {
  const { location } = response.headers;
  if (status >= 300 && status < 400 && location !== undefined) {
    return `the router's URL redirects to ${location.slice(0, 200)}; give that address instead`;
  }
  if (status === 401 || status === 403 || status === 407)
    return `something in between refused the connection (HTTP ${status})`;
  if (status === 404) return 'no router answers at this address and path prefix (HTTP 404)';
  if (status >= 500) return `a proxy answered HTTP ${status}; the router behind it may be down`;
  return `expected ${wanted}, and the answer was HTTP ${status}`;
}
