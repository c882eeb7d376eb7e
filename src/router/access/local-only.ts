import type { IncomingMessage } from 'node:http';
import { isLoopbackName } from '../../http/loopback.ts';
import { RelayError } from '../../protocol/errors.ts';

/** What a proxy adds: `Forwarded`, `Via`, and `X-Forwarded-…` of any kind. */
const FORWARDING_HEADER = /^(?:forwarded|via|x-forwarded-.*)$/;

/**
 * Keeps a router that asks for no tokens to this machine: what reached it by another name, or came through a proxy that
 * shows itself, is not from here.
 * @throws {RelayError} forbidden, saying what gave the request away.
 */
export function requireLocal({ headers }: IncomingMessage): void {
  const { host } = headers;
  if (host !== undefined && !isLoopback(host)) {
    throw new RelayError(
      'forbidden',
      `this router has no access control, so it answers only to loopback names, not to Host ${JSON.stringify(host)}`,
    );
  }
  const forwarded = Object.keys(headers).find((name) => FORWARDING_HEADER.test(name));
  if (forwarded !== undefined) {
    throw new RelayError(
      'forbidden',
      `this router has no access control, so it answers no request that a proxy passed on (it carries ${forwarded})`,
    );
  }
}

/** Whether a `Host` names this machine's loopback: localhost, 127.0.0.0/8 or ::1, with or without a port. */
function isLoopback(host: string): boolean {
  // As nearly all have it.
  if (/^(?:localhost|127\.0\.0\.1|\[::1\])(?::[1-5]?\d{1,4})?$/i.test(host)) return true;
  if (!URL.canParse(`http://${host}`)) return false;
  // Nothing but a name and a port: what a URL parser would read as more is no Host.
  if (/[/\\@?#]/.test(host)) return false;
  return isLoopbackName(new URL(`http://${host}`).hostname);
}
