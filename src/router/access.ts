import type { IncomingMessage } from 'node:http';
import { RelayError } from '../protocol/errors.ts';

const FORWARDING_HEADERS = [
  'forwarded',
  'via',
  'x-forwarded-for',
  'x-forwarded-host',
  'x-forwarded-proto',
  'x-forwarded-port',
  'x-forwarded-server',
];

/** What an endpoint is for, and so who may use it. */
export type Scope = 'public' | 'app' | 'connector' | 'signed';

export interface AccessOptions {
  /** The origin of the public URL, where there is one. */
  readonly publicOrigin?: string | undefined;
  /** Lifts the checks that keep a router without tokens on loopback. */
  readonly allowNoAuth: boolean;
}

/** The one place that every request passes before anything is done for it, upgrades included. */
export class Access {
  readonly #options: AccessOptions;

  constructor(options: AccessOptions) {
    this.#options = options;
  }

  /**
   * Refuses what must not be answered. Without tokens that is whatever did not come straight from this machine, and always
   * what a web page of another origin sends.
   * @param _scope what the endpoint is for; every endpoint is alike until there are tokens.
   * @throws {RelayError} forbidden, saying what gave the request away.
   */
  check(request: IncomingMessage, _scope: Scope): void {
    const { host, origin } = request.headers;
    if (!this.#options.allowNoAuth) {
      if (host !== undefined && !isLoopback(host)) {
        throw new RelayError(
          'forbidden',
          `this router has no access control, so it answers only to loopback names, not to Host ${JSON.stringify(host)}`,
        );
      }
      const forwarded = FORWARDING_HEADERS.find((name) => request.headers[name] !== undefined);
      if (forwarded !== undefined) {
        throw new RelayError(
          'forbidden',
          `this router has no access control, so it answers no request that a proxy passed on (it carries ${forwarded})`,
        );
      }
    }
    if (origin !== undefined && !this.#isOwnOrigin(origin, request)) {
      throw new RelayError('forbidden', `requests from the web origin ${JSON.stringify(origin)} are not allowed`);
    }
  }

  #isOwnOrigin(origin: string, request: IncomingMessage): boolean {
    if (origin === this.#options.publicOrigin) return true;
    const scheme = 'encrypted' in request.socket ? 'https' : 'http';
    return origin === `${scheme}://${request.headers.host}`;
  }
}

/** Whether a `Host` names this machine's loopback: localhost, 127.0.0.0/8 or ::1, with or without a port. */
function isLoopback(host: string): boolean {
  if (!URL.canParse(`http://${host}`)) return false;
  const { hostname, username, pathname } = new URL(`http://${host}`);
  if (username !== '' || pathname !== '/') return false;
  return (
    hostname === 'localhost' ||
    hostname.endsWith('.localhost') ||
    hostname === '[::1]' ||
    /^127(?:\.\d{1,3}){3}$/.test(hostname)
  );
}
