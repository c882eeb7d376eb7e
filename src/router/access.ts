import type { IncomingMessage } from 'node:http';
import { RelayError } from '../protocol/errors.ts';

/** What a proxy adds: `Forwarded`, `Via`, and `X-Forwarded-…` of any kind. */
const FORWARDING_HEADER = /^(?:forwarded|via|x-forwarded-.*)$/;

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
      const forwarded = Object.keys(request.headers).find((name) => FORWARDING_HEADER.test(name));
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
  // Nothing but a name and a port: what a URL parser would read as more is no Host.
  if (/[/\\@?#]/.test(host)) return false;
  const { hostname } = new URL(`http://${host}`);
  return (
    hostname === 'localhost' ||
    hostname.endsWith('.localhost') ||
    hostname === '[::1]' ||
    /^127(?:\.\d{1,3}){3}$/.test(hostname)
  );
}
