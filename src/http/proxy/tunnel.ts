import http, { type IncomingMessage } from 'node:http';
import https from 'node:https';
import { isIP, isIPv6, type Socket } from 'node:net';
import { type ConnectionOptions, connect as connectTls } from 'node:tls';
import type { Trust } from '../trust.ts';
import { toProxyFailure, toProxyRefusal } from './proxy-error.ts';

/** How long proxy and target may take until the way through is open. */
const OPEN_TIMEOUT_MS = 30_000;
/** How often a kept connection asks whether the other side is still there. */
const KEEP_ALIVE_MS = 15_000;

/** What a connection through a proxy leads to. */
export interface TunnelTarget {
  /** Without the brackets of IPv6. */
  readonly host: string;
  readonly port: number;
  /** Whether TLS is spoken with the target, through the tunnel: the proxy sees nothing of it. */
  readonly isSecure: boolean;
  /** The name that the certificate must have. Default: the host. */
  readonly servername?: string | undefined;
}

/** Where a tunnel leads, and what it is opened with. */
export interface TunnelOptions {
  readonly proxy: URL;
  readonly target: TunnelTarget;
  readonly trust: Trust;
  /** Ends a tunnel that is being opened. */
  readonly closing: AbortSignal;
}

/** Hears of a tunnel that is open, or of why there is none, in the manner of Node's `createConnection`. */
export type Opened = (...result: [error: null, socket: Socket] | [error: Error, socket: null]) => void;

/**
 * Opens a connection through an HTTP proxy by CONNECT (RFC 9110 §9.3.6), with TLS to the proxy where its URL says https.
 * @param opened gets the connection, ready to be written to: with a secure target its TLS stands and the certificate was
 * verified. Or a RelayError: unauthorized, forbidden when the proxy refuses; router_unreachable when the proxy, or by it
 * the target, is out of reach. What goes wrong in the target's TLS comes as Node gives it.
 */
export function createTunnel(options: TunnelOptions, opened: Opened): void {
  void callBack(openTunnel(options), opened);
}

async function callBack(opening: Promise<Socket>, opened: Opened): Promise<void> {
  let socket: Socket;
  try {
    socket = await opening;
  } catch (error) {
    opened(error as Error, null);
    return;
  }
  opened(null, socket);
}

async function openTunnel({ proxy, target, trust, closing }: TunnelOptions): Promise<Socket> {
  const signal = AbortSignal.any([closing, AbortSignal.timeout(OPEN_TIMEOUT_MS)]);
  const socket = await askForTunnel(proxy, target, trust, signal);
  socket.setNoDelay(true).setKeepAlive(true, KEEP_ALIVE_MS);
  return target.isSecure ? secure(socket, target, trust, signal) : socket;
}

function askForTunnel(proxy: URL, { host, port }: TunnelTarget, trust: Trust, signal: AbortSignal): Promise<Socket> {
  const authority = `${isIPv6(host) ? `[${host}]` : host}:${port}`;
  return new Promise((resolve, reject) => {
    const request = startProxyRequest(proxy, {
      method: 'CONNECT',
      path: authority,
      headers: { Host: authority, ...proxyHeaders(proxy) },
      agent: false,
      signal,
      ...(proxy.protocol === 'https:' && { secureContext: trust() }),
    });
    request.once('connect', (response: IncomingMessage, socket: Socket, head: Buffer) => {
      const status = response.statusCode ?? 0;
      if (status >= 200 && status < 300) {
        if (head.length > 0) socket.unshift(head);
        resolve(socket);
        return;
      }
      socket.on('error', () => {}).destroy();
      reject(toProxyRefusal(proxy, status, authority));
    });
    request.once('error', (error) => reject(toProxyFailure(proxy, error)));
    request.end();
  });
}

/** Begins a request to the proxy itself. */
export function startProxyRequest(
  proxy: URL,
  options: http.RequestOptions & Pick<ConnectionOptions, 'secureContext'>,
): http.ClientRequest {
  const { request } = proxy.protocol === 'https:' ? https : http;
  return request({
    protocol: proxy.protocol,
    host: proxy.hostname.replace(/^\[(.*)\]$/, '$1'),
    port: proxy.port,
    ...options,
  });
}

/** What a proxy wants to see of who uses it (RFC 9110 §11.7.1); only Basic is spoken. */
export function proxyHeaders({ username, password }: URL): Record<string, string> {
  if (username === '' && password === '') return {};
  const credentials = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  return { 'Proxy-Authorization': `Basic ${Buffer.from(credentials).toString('base64')}` };
}

function secure(socket: Socket, target: TunnelTarget, trust: Trust, signal: AbortSignal): Promise<Socket> {
  const { host, servername = isIP(host) === 0 ? host : undefined } = target;
  return new Promise((resolve, reject) => {
    const tls = connectTls({
      socket,
      host,
      secureContext: trust(),
      ALPNProtocols: ['http/1.1'],
      ...(servername !== undefined && { servername }),
    });
    const abort = (): void => void tls.destroy(signal.reason as Error);
    const fail = (error: Error): void => {
      signal.removeEventListener('abort', abort);
      socket.destroy();
      reject(error);
    };
    signal.addEventListener('abort', abort, { once: true });
    tls.once('error', fail);
    tls.once('close', () => fail(new Error('the connection was closed before TLS was agreed on')));
    tls.once('secureConnect', () => {
      signal.removeEventListener('abort', abort);
      tls.off('error', fail);
      resolve(tls);
    });
    if (signal.aborted) abort();
  });
}
