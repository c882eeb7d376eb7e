import { getCACertificates } from 'node:tls';
import { EnvHttpProxyAgent, fetch as undiciFetch } from 'undici';
import type { Fetch } from '../../index.ts';

/** A `fetch` with connections of its own, to be closed when the work is done. */
export interface Connections {
  readonly fetch: Fetch;
  /** Cuts what is still open. */
  close(): Promise<void>;
}

/**
 * Opens connections as the surroundings ask for: through `HTTP_PROXY` and its like, and trusting certificates beside the
 * well-known ones. How long a response may take to begin is the router's to limit, or `--timeout`'s.
 * @param ca certificates in PEM form.
 * @param stallMs how long a body may stand still before it is taken for lost; a router notices a silent node earlier.
 */
export function openConnections(ca: string | undefined, stallMs: number): Connections {
  const tls = ca === undefined ? {} : { ca: [...getCACertificates('default'), ca] };
  const dispatcher = new EnvHttpProxyAgent({
    headersTimeout: 0,
    bodyTimeout: stallMs,
    connect: tls,
    requestTls: tls,
    proxyTls: tls,
  });
  return {
    // undici's types and the platform's differ in name only.
    fetch: ((input: Parameters<typeof undiciFetch>[0], init: Parameters<typeof undiciFetch>[1]) =>
      undiciFetch(input, { ...init, dispatcher })) as unknown as Fetch,
    close: () => dispatcher.destroy(),
  };
}
