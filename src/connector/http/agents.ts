import http from 'node:http';
import https from 'node:https';
import { getCACertificates } from 'node:tls';

/** Connections for HTTP requests. */
export interface Agents {
  /** Keeps connections for the next request. */
  pooled(url: URL): http.Agent;
  /** Opens a connection of its own for each request. */
  fresh(url: URL): http.Agent;
  /** The authorities that are trusted; undefined for the usual ones. */
  readonly ca: string[] | undefined;
  /** Ends all connections, also those in use. */
  close(): void;
}

const KEEP_ALIVE_MS = 15_000;

/** @param ca certificates of authorities trusted besides the usual ones, PEM: the store may have a public one. */
export function createAgents(ca: string | undefined): Agents {
  const trusted = ca === undefined ? undefined : [...getCACertificates('default'), ca];
  const tls = trusted === undefined ? {} : { ca: trusted };
  // A keep-alive probe finds out about a peer that vanished while the app, and so the router, does not read.
  const pool = { keepAlive: true, keepAliveMsecs: KEEP_ALIVE_MS, scheduling: 'lifo' } as const;
  const plain = { pooled: new http.Agent(pool), fresh: new http.Agent({ keepAlive: false }) };
  const secure = { pooled: new https.Agent({ ...pool, ...tls }), fresh: new https.Agent({ keepAlive: false, ...tls }) };
  const choose = (url: URL): typeof plain => (url.protocol === 'https:' ? secure : plain);
  return {
    pooled: (url) => choose(url).pooled,
    fresh: (url) => choose(url).fresh,
    ca: trusted,
    close: () => {
      for (const { pooled, fresh } of [plain, secure]) {
        pooled.destroy();
        fresh.destroy();
      }
    },
  };
}
