import { RelayError } from '../../protocol/errors.ts';

/** How a proxy is named to people: never with its credentials. */
export const nameProxy = (proxy: URL): string => proxy.origin;

/**
 * A proxy that answered, and did not let a request through (RFC 9110 §15.5.8, §9.3.6).
 * @param target whom it was asked for, host and port.
 */
export function toProxyRefusal(proxy: URL, status: number, target: string): RelayError {
  const name = nameProxy(proxy);
  // Some proxies answer wrong credentials with 401, as a server would.
  if (status === 407 || status === 401) {
    const what = proxy.username === '' ? 'and none are configured' : 'and does not take those that are configured';
    const text = `the proxy ${name} asks for credentials, ${what} (HTTP ${status})`;
    return new RelayError('unauthorized', text, { details: { proxy: name } });
  }
  const mayPass = status >= 500 || status === 408 || status === 429;
  return mayPass
    ? new RelayError('router_unreachable', `the proxy ${name} did not get through to ${target} (HTTP ${status})`)
    : new RelayError('forbidden', `the proxy ${name} allows no connection to ${target} (HTTP ${status})`, {
        details: { proxy: name },
      });
}

/** A proxy that is not there. */
export function toProxyFailure(proxy: URL, cause: unknown): RelayError {
  const { code, message, errors } = cause as NodeJS.ErrnoException & { errors?: Error[] };
  // With several addresses Node gives one error for all, whose own message is empty.
  const words = (code !== undefined && WORDS[code]) || message || errors?.[0]?.message || 'unknown error';
  return new RelayError('router_unreachable', `the proxy ${nameProxy(proxy)} cannot be reached: ${words}`, { cause });
}

const WORDS: Readonly<Record<string, string>> = {
  ABORT_ERR: 'it gave no answer in time',
  ECONNREFUSED: 'nothing listens there',
  ECONNRESET: 'it cut the connection',
  EHOSTUNREACH: 'there is no way to its network',
  ENETUNREACH: 'there is no way to its network',
  ENOTFOUND: 'its name is not known',
  EAI_AGAIN: 'its name cannot be looked up at the moment',
};

/** The refusal of a proxy, or its absence, beneath what `fetch` or an agent threw. */
export function findProxyError(thrown: unknown): RelayError | undefined {
  for (let error = thrown, depth = 0; error instanceof Error && depth < 4; error = error.cause, depth += 1) {
    if (error instanceof RelayError) return error;
  }
  return undefined;
}
