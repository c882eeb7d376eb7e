import { createSecureContext, getCACertificates, type SecureContext } from 'node:tls';

/** Gives what TLS connections are made with: the authorities that are trusted. */
export type Trust = () => SecureContext;

/**
 * Trusts the authorities that Node.js brings or was given (`NODE_EXTRA_CA_CERTS`), those of the system, where a company puts
 * its own, and further ones. They are read when they are first needed, once, since that takes tens of milliseconds.
 * @param ca certificates in PEM form.
 */
export function createTrust(ca: string | undefined): Trust {
  let context: SecureContext | undefined;
  return () => (context ??= createSecureContext({ ca: listAuthorities(ca) }));
}

function listAuthorities(ca: string | undefined): string[] {
  // The system's store tends to hold a certificate under several names.
  const known = new Set([...getCACertificates('default'), ...getCACertificates('system')]);
  return ca === undefined ? [...known] : [...known, ca];
}
