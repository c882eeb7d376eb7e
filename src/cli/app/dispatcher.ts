import type { Socket } from 'node:net';
import type { SecureContext } from 'node:tls';
import { Agent, buildConnector, type Dispatcher } from 'undici';
import type { ChooseProxy } from '../../http/proxy/choose-proxy.ts';
import { toProxyRefusal } from '../../http/proxy/proxy-error.ts';
import { createTunnel, proxyHeaders, type TunnelTarget } from '../../http/proxy/tunnel.ts';
import type { Trust } from '../../http/trust.ts';
import type { Fetch } from '../../index.ts';
import { createFetch } from './fetch.ts';
import { OpenResponses } from './open-responses.ts';

/** A `fetch` with connections of its own, to be closed when the work is done. */
export interface Connections {
  readonly fetch: Fetch;
  /** The least time that opening a connection to the server of a URL took, in ms; undefined where none was opened straight to it. */
  roundTripMs(target: URL): number | undefined;
  /** Cuts what is still open. */
  close(): Promise<void>;
}

/**
 * Opens connections, through a proxy where there is one for the URL: by a tunnel what is encrypted, and a plain request by
 * handing it over whole, as curl does. How long a response may take to begin is the router's to limit, or `--timeout`'s.
 * @param stallMs how long a body may stand still before it is taken for lost; a router notices a silent node earlier.
 */
export function openConnections(chooseProxy: ChooseProxy, trust: Trust, stallMs: number): Connections {
  const closing = new AbortController();
  const timeouts = { headersTimeout: 0, bodyTimeout: stallMs };
  const roundTrips = new Map<string, number>();
  const responses = new OpenResponses();
  const direct = new Agent({ ...timeouts, connect: responses.watch(createConnector(trust, roundTrips)) });
  const tunneller = createTunneller(chooseProxy, trust, closing.signal);
  const tunnelled = new Agent({ ...timeouts, connect: responses.watch(tunneller) });
  const dispatcher = direct.compose((dispatch) => (options, outer) => {
    const handler = responses.follow(outer);
    const target = new URL(String(options.origin));
    const proxy = chooseProxy(target);
    if (proxy === undefined) return dispatch(options, handler);
    if (target.protocol === 'https:') return tunnelled.dispatch(options, handler);
    const headers = { ...toRecord(options.headers), host: target.host, ...proxyHeaders(proxy) };
    const whole = { ...options, origin: proxy.origin, path: `${target.origin}${options.path}`, headers };
    return dispatch(whole, refuse407(handler, proxy, target));
  });
  return {
    fetch: createFetch(dispatcher),
    roundTripMs: ({ hostname, port }) => roundTrips.get(addressOf(hostname, port)),
    close: async () => {
      closing.abort(new Error('the connections were closed'));
      await Promise.all([direct.destroy(), tunnelled.destroy()]);
    },
  };
}

/**
 * Connects straight, and reads the authorities only when TLS is needed.
 * @param roundTrips gets the least time that TCP took to connect, by host and port: a SYN and its answer, in ms.
 */
function createConnector(trust: Trust, roundTrips: Map<string, number>): buildConnector.connector {
  const connectPlain = measuring(buildConnector({}), roundTrips);
  let secure: { readonly context: SecureContext; readonly connect: buildConnector.connector } | undefined;
  return (options, callback) => {
    if (options.protocol !== 'https:') {
      connectPlain(options, callback);
      return;
    }
    const context = trust();
    if (secure?.context !== context)
      secure = { context, connect: measuring(buildConnector({ secureContext: context }), roundTrips) };
    secure.connect(options, callback);
  };
}

/** Notes how long TCP takes to connect, without the name's lookup and TLS. */
function measuring(connect: buildConnector.connector, roundTrips: Map<string, number>): buildConnector.connector {
  return (options, callback) => {
    // undici hands out the socket, and says so nowhere.
    const socket = connect(options, callback) as unknown as Socket;
    const key = addressOf(options.hostname, options.port);
    let begunAt = performance.now();
    // One address after another, where the first does not answer.
    socket.on('connectionAttempt', () => {
      begunAt = performance.now();
    });
    socket.once('connect', () =>
      roundTrips.set(key, Math.min(roundTrips.get(key) ?? Number.POSITIVE_INFINITY, performance.now() - begunAt)),
    );
  };
}

/** By which a server is known, an IPv6 address with or without its brackets. */
const addressOf = (hostname: string, port: string): string => `${hostname.replace(/^\[(.*)\]$/, '$1')} ${port}`;

function createTunneller(chooseProxy: ChooseProxy, trust: Trust, closing: AbortSignal): buildConnector.connector {
  return ({ protocol, hostname, port, servername }, callback) => {
    const target = new URL(`${protocol}//${hostname}:${port}`);
    const address: TunnelTarget = {
      host: target.hostname.replace(/^\[(.*)\]$/, '$1'),
      port: Number(port || 443),
      isSecure: true,
      servername: servername || undefined,
    };
    // Only what has a proxy comes here.
    const proxy = chooseProxy(target) as URL;
    createTunnel({ proxy, target: address, trust, closing }, callback);
  };
}

/** As `fetch` would refuse it itself, but saying which proxy it was. */
function refuse407(handler: Dispatcher.DispatchHandler, proxy: URL, target: URL): Dispatcher.DispatchHandler {
  return {
    onRequestStart: (...args) => handler.onRequestStart?.(...args),
    onRequestUpgrade: (...args) => handler.onRequestUpgrade?.(...args),
    onResponseStart: (controller, status, headers, text) => {
      if (status === 407) throw toProxyRefusal(proxy, status, target.host);
      handler.onResponseStart?.(controller, status, headers, text);
    },
    onResponseData: (...args) => handler.onResponseData?.(...args),
    onResponseEnd: (...args) => handler.onResponseEnd?.(...args),
    onResponseError: (...args) => handler.onResponseError?.(...args),
  };
}

function toRecord(headers: Dispatcher.DispatchOptions['headers']): Record<string, string | string[] | undefined> {
  if (headers === undefined || headers === null) return {};
  if (!Array.isArray(headers)) {
    return Symbol.iterator in headers
      ? Object.fromEntries(headers as Iterable<[string, string | string[] | undefined]>)
      : { ...(headers as Record<string, string | string[] | undefined>) };
  }
  return Object.fromEntries(headers.flatMap((name, at) => (at % 2 === 0 ? [[name, headers[at + 1]]] : [])));
}
