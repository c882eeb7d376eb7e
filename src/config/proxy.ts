import type { ProxySettings } from '../http/proxy/choose-proxy.ts';
import { RelayError } from '../protocol/errors.ts';
import type { Surroundings } from './resolve.ts';

/** The variables that name proxies, by what they are for. The lower-case name of each goes before the other, as in curl. */
const VARIABLES = { http: 'HTTP_PROXY', https: 'HTTPS_PROXY', noProxy: 'NO_PROXY' } as const;

/** A variable of proxies as it was found. */
export interface ProxyVariable {
  readonly name: string;
  readonly text: string;
}

/**
 * Which proxies a role uses: what `--proxy` says, else what the environment does. `NO_PROXY` exempts from both; this
 * machine's own names only ever go to a proxy that `--proxy` names.
 * @throws {RelayError} `usage` for a variable that names no HTTP proxy, without its value, which may hold a password.
 */
export function readProxySettings(option: URL | 'none' | undefined, env: Surroundings['env']): ProxySettings {
  const noProxy = findVariable(env, VARIABLES.noProxy)?.text ?? '';
  if (option === 'none') return { http: undefined, https: undefined, noProxy, includesLoopback: false };
  if (option !== undefined) return { http: option, https: option, noProxy, includesLoopback: true };
  const read = (variable: string): URL | undefined => {
    const found = findVariable(env, variable);
    if (found === undefined) return undefined;
    const proxy = parseProxy(found.text);
    if (proxy !== undefined) return proxy;
    throw new RelayError('usage', `${found.name} in the environment ${NOT_A_PROXY}; --proxy none goes without`);
  };
  return { http: read(VARIABLES.http), https: read(VARIABLES.https), noProxy, includesLoopback: false };
}

/** The variables of proxies that are set, with passwords masked. */
export function listProxyVariables(env: Surroundings['env'], mask: string): ProxyVariable[] {
  return Object.values(VARIABLES).flatMap((variable) => {
    const found = findVariable(env, variable);
    if (found === undefined) return [];
    if (variable === VARIABLES.noProxy) return [found];
    const proxy = parseProxy(found.text);
    return [{ name: found.name, text: proxy === undefined ? mask : showProxy(proxy, mask) }];
  });
}

/** What is wrong with a text that {@link parseProxy} does not take. */
export const NOT_A_PROXY = 'is not the http:// or https:// URL of a proxy (as in http://proxy.example:3128)';

/** Reads the URL of an HTTP proxy, which may go without `http://`. @returns undefined where it is none. */
export function parseProxy(text: string): URL | undefined {
  const url = URL.parse(text.includes('://') ? text : `http://${text}`);
  if (url === null || !/^https?:$/.test(url.protocol) || url.hostname === '') return undefined;
  if (url.pathname !== '/' || url.search !== '' || url.hash !== '') return undefined;
  try {
    decodeURIComponent(url.username + url.password);
  } catch {
    return undefined;
  }
  return url;
}

/** A proxy as it may be shown. */
export function showProxy(proxy: URL, mask: string): string {
  const password = proxy.password === '' ? '' : `:${mask}`;
  const user = proxy.username === '' && password === '' ? '' : `${proxy.username}${password}@`;
  return `${proxy.protocol}//${user}${proxy.host}`;
}

function findVariable(env: Surroundings['env'], name: string): ProxyVariable | undefined {
  for (const each of [name.toLowerCase(), name]) {
    const text = env[each];
    if (text) return { name: each, text };
  }
  return undefined;
}
