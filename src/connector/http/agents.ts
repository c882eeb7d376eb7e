import http, { type ClientRequest } from 'node:http';
import https from 'node:https';
import type { Duplex } from 'node:stream';
import type { ConnectionOptions } from 'node:tls';
import type { ChooseProxy } from '../../http/proxy/choose-proxy.ts';
import type { Pace } from '../../http/pace.ts';
import { createTunnel, type Opened, proxyHeaders, startProxyRequest } from '../../http/proxy/tunnel.ts';
import type { Trust } from '../../http/trust.ts';

/** How a connection is come by: `pooled` keeps it for the next request, `fresh` opens one for each. */
type Pooling = 'pooled' | 'fresh';

/** Connections for HTTP requests and WebSockets, through a proxy where there is one for the URL. */
export interface Agents {
  /** Begins a request. */
  request(
    url: URL,
    options: { readonly method: string; readonly headers: Readonly<Record<string, string>> },
    pooling: Pooling,
  ): ClientRequest;
  /** What opens the connection of a WebSocket. */
  forWebSocket(url: URL): http.Agent;
  /** Holds back bodies that are written piece by piece. */
  readonly pace: Pace | undefined;
  /** The proxy by which a URL is reached; undefined for none. */
  readonly chooseProxy: ChooseProxy;
  /** Ends all connections, also those in use. */
  close(): void;
}

/** A keep-alive probe finds out about a peer that vanished while the app, and so the router, does not read. */
const KEEP_ALIVE_MS = 15_000;
const POOLS = {
  pooled: { keepAlive: true, keepAliveMsecs: KEEP_ALIVE_MS, scheduling: 'lifo' },
  fresh: { keepAlive: false },
} as const satisfies Record<Pooling, http.AgentOptions>;

const noProxy: ChooseProxy = () => undefined;

/**
 * As curl does: what is encrypted, and WebSockets, go through a tunnel; a plain request is handed to the proxy whole, since
 * many proxies open tunnels to port 443 only.
 */
export function createAgents(chooseProxy: ChooseProxy, trust: Trust, pace?: Pace): Agents {
  const closing = new AbortController();
  const options = { chooseProxy, trust, closing: closing.signal };
  const both = <T>(create: (pool: http.AgentOptions) => T): Record<Pooling, T> => ({
    pooled: create(POOLS.pooled),
    fresh: create(POOLS.fresh),
  });
  const plain = both((pool) => new http.Agent(pool));
  const secure = both((pool) => new SecureAgent(pool, options));
  // To a proxy that is itself reached by TLS: no proxy leads there.
  const toProxy = both((pool) => new SecureAgent(pool, { ...options, chooseProxy: noProxy }));
  const plainSockets = new TunnelAgent(POOLS.fresh, options);
  return {
    pace,
    chooseProxy,
    request: (url, { method, headers }, pooling) => {
      if (url.protocol === 'https:') return https.request(url, { method, headers, agent: secure[pooling] });
      const proxy = chooseProxy(url);
      if (proxy === undefined) return http.request(url, { method, headers, agent: plain[pooling] });
      return startProxyRequest(proxy, {
        method,
        path: `${url.origin}${url.pathname}${url.search}`,
        headers: { ...headers, Host: url.host, ...proxyHeaders(proxy) },
        agent: (proxy.protocol === 'https:' ? toProxy : plain)[pooling],
      });
    },
    forWebSocket: ({ protocol }) => (protocol === 'wss:' ? secure.fresh : plainSockets),
    close: () => {
      closing.abort(new Error('the connections were closed'));
      for (const { pooled, fresh } of [plain, secure, toProxy]) {
        pooled.destroy();
        fresh.destroy();
      }
      plainSockets.destroy();
    },
  };
}

interface AgentOptions {
  readonly chooseProxy: ChooseProxy;
  readonly trust: Trust;
  readonly closing: AbortSignal;
}

type Address = http.ClientRequestArgs & { readonly servername?: string };
type Created = (error: Error | null, stream: Duplex) => void;

/** Opens tunnels for what is not encrypted. */
class TunnelAgent extends http.Agent {
  readonly #options: AgentOptions;

  constructor(pool: http.AgentOptions, options: AgentOptions) {
    super(pool);
    this.#options = options;
  }

  override createConnection(address: Address, created: Created): Duplex | null | undefined {
    if (beginTunnel('http:', address, this.#options, created)) return undefined;
    return super.createConnection(address, created);
  }
}

/** Opens TLS connections, through tunnels where there is a proxy. */
class SecureAgent extends https.Agent {
  readonly #options: AgentOptions;

  constructor(pool: http.AgentOptions, options: AgentOptions) {
    super(pool);
    this.#options = options;
  }

  override createConnection(address: Address, created: Created): Duplex | null | undefined {
    if (beginTunnel('https:', address, this.#options, created)) return undefined;
    const secured: https.RequestOptions & Pick<ConnectionOptions, 'secureContext'> = {
      ...address,
      secureContext: this.#options.trust(),
    };
    return super.createConnection(secured, created);
  }
}

/** @returns whether there is a proxy for the address, and so a tunnel to come. */
function beginTunnel(
  protocol: 'http:' | 'https:',
  { host, port, servername }: Address,
  { chooseProxy, trust, closing }: AgentOptions,
  created: Created,
): boolean {
  const name = String(host);
  const proxy = chooseProxy(new URL(`${protocol}//${name.includes(':') ? `[${name}]` : name}:${port}`));
  if (proxy === undefined) return false;
  const target = {
    host: name,
    port: Number(port),
    isSecure: protocol === 'https:',
    servername: servername || undefined,
  };
  // What failed has no stream, which Node's types do not know.
  createTunnel({ proxy, target, trust, closing }, created as Opened);
  return true;
}
