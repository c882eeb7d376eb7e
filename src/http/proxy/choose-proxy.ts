import { isLoopbackName } from '../loopback.ts';
import { parseNoProxy } from './no-proxy.ts';

/** Which proxies there are. */
export interface ProxySettings {
  /** The one for `http:` and `ws:`. */
  readonly http: URL | undefined;
  /** The one for `https:` and `wss:`. */
  readonly https: URL | undefined;
  /** Who is reached without, as `NO_PROXY` has it. */
  readonly noProxy: string;
  /** Whether this machine's own services are asked through the proxy too: to the proxy, loopback is another machine. */
  readonly includesLoopback: boolean;
}

/** The proxy by which a URL is reached; undefined for none. */
export type ChooseProxy = (target: URL) => URL | undefined;

/** Reads the settings once, so that the choice costs little. */
export function createProxyChooser({ http, https, noProxy, includesLoopback }: ProxySettings): ChooseProxy {
  const isExempt = parseNoProxy(noProxy);
  return (target) => {
    const isSecure = target.protocol === 'https:' || target.protocol === 'wss:';
    const proxy = isSecure ? https : http;
    if (proxy === undefined || (!includesLoopback && isLoopbackName(target.hostname))) return undefined;
    const port = target.port === '' ? (isSecure ? 443 : 80) : Number(target.port);
    return isExempt(target.hostname, port) ? undefined : proxy;
  };
}
