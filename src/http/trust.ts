import { createSecureContext, getCACertificates, type SecureContext } from 'node:tls';

/** Gives what TLS connections are made with: the authorities that are trusted. */
export type Trust = () => SecureContext;

/**
 * Trusts the authorities that Node.js brings or was given (`NODE_EXTRA_CA_CERTS`), those of the system, where a company puts
 * its own, and further ones. They are read when they are first needed, and again only when the further ones are others, since
 * that takes tens of milliseconds.
 * @param readCa certificates in PEM form, as they are now.
 */
export function createTrust(readCa: (() => string) | undefined): Trust {
  let made: { readonly ca: string | undefined; readonly context: SecureContext } | undefined;
  return () => {
    const ca = readCa?.();
    if (made === undefined || made.ca !== ca) made = { ca, context: createSecureContext({ ca: listAuthorities(ca) }) };
    return made.context;
  };
}

function listAuthorities(ca: string | undefined): string[] {
  // The system's store tends to hold a certificate under several names.
  const known = new Set([...getCACertificates('default'), ...getCACertificates('system')]);
  return ca === undefined ? [...known] : [...known, ca];
}
