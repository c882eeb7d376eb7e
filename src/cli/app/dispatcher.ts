import { getCACertificates } from 'node:tls';
import { EnvHttpProxyAgent, fetch as undiciFetch } from 'undici';
import type { Fetch } from '../../index.ts';

/** A `fetch` with connections of its own, to be closed when the work is done. */
export interface Connections {
  readonly fetch: Fetch;
  /** Cuts what is still open. */
  close(): Promise<void>;
}

/** A body that stands still for this long is taken for lost, in milliseconds; a router notices a silent node earlier. */
const SILENCE_MS = 100_000;

/**
 * Opens connections as the surroundings ask for: through `HTTP_PROXY` and its like, and trusting certificates beside the
 * well-known ones. How long a response may take to begin is the router's to limit, or `--timeout`'s.
 * @param ca certificates in PEM form.
 */
export function openConnections(ca: string | undefined): Connections {
  const tls = ca === undefined ? {} : { ca: [...getCACertificates('default'), ca] };
  const dispatcher = new EnvHttpProxyAgent({
    headersTimeout: 0,
    bodyTimeout: SILENCE_MS,
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
