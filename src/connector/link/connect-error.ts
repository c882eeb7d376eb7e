import { RelayError } from '../../protocol/errors.ts';
import { LinkError } from './link.ts';

const WORDS: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'nothing listens there',
  ENOTFOUND: 'its name is not known',
  EAI_AGAIN: 'its name could not be looked up',
  EHOSTUNREACH: 'there is no way to its network',
  ENETUNREACH: 'there is no way to its network',
  ETIMEDOUT: 'it did not answer',
  ECONNRESET: 'the connection was cut',
  EPIPE: 'the connection was cut',
  EPROTO: 'it does not speak TLS there, or not a version in common',
  ERR_SSL_WRONG_VERSION_NUMBER: 'it does not speak TLS there; the URL may have to begin with http:',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'its certificate is signed by itself; give the certificate of its authority as --ca',
  SELF_SIGNED_CERT_IN_CHAIN: 'its certificate comes from an unknown authority; give its certificate as --ca',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'its certificate comes from an unknown authority; give its certificate as --ca',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'its certificate comes from an unknown authority; give its certificate as --ca',
  CERT_HAS_EXPIRED: 'its certificate has expired',
  ERR_TLS_CERT_ALTNAME_INVALID: 'its certificate is for another name',
};

/**
 * A connection error in words for the log.
 * @param wasConnected whether the connection stood: then somebody is there who does not let this kind of link pass.
 */
export function toConnectError(error: Error, host: string, wasConnected: boolean): LinkError {
  if (error instanceof LinkError) return error;
  if (error instanceof RelayError) {
    // A proxy that refuses one kind of link may let the other pass: it opens tunnels to some ports only. Its code is not the
    // router's, and says nothing about the token.
    return new LinkError(error.details.proxy === undefined ? 'unreachable' : 'transport', error.message, {
      cause: error,
    });
  }
  const { code } = error as NodeJS.ErrnoException;
  // With several addresses Node gives one error for all, whose own message is empty.
  const inner = (error as { errors?: Error[] }).errors?.[0];
  const words = (code !== undefined && WORDS[code]) || error.message || inner?.message || 'unknown error';
  const text = wasConnected
    ? `the connection to ${host} broke while the link was opened: ${words}`
    : `cannot reach the router at ${host}: ${words}`;
  return new LinkError(wasConnected ? 'transport' : 'unreachable', text, { cause: error });
}

/** Nothing came in time. */
export function toTimeout(host: string, timeoutMs: number, wasConnected: boolean): LinkError {
  const seconds = timeoutMs / 1000;
  return wasConnected
    ? new LinkError('transport', `${host} accepted the connection, but no sign of life came through it in ${seconds} s`)
    : new LinkError('unreachable', `cannot reach the router at ${host}: no connection in ${seconds} s`);
}
