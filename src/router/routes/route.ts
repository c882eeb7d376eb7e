import type { IncomingMessage, ServerResponse } from 'node:http';
import { RelayError } from '../../protocol/errors.ts';
import type { Access, Scope } from '../access/access.ts';
import type { Grant } from '../access/grant.ts';
import type { SignedDataset } from '../access/url-signer.ts';
import type { Context } from '../context.ts';
import type { RequestSide, Slot } from '../limits/requests.ts';

/** One request on its way through its handler. */
export interface Call {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** The parts of the path that the pattern names, decoded. */
  readonly params: Readonly<Record<string, string>>;
  readonly query: URLSearchParams;
  /** The request's id, which every answer to an app carries. */
  readonly id: string;
  /** What whoever asks may do. The role is checked; which connectors and datasets is for the handler to ask. */
  readonly grant: Grant;
  /** Its place among the requests that are held; undefined for what takes none. */
  readonly slot: Slot | undefined;
}

/** An endpoint: a method, a path pattern with `{name}` for a part and `{name...}` for the rest, and who may use it. */
export interface Route {
  readonly method: 'GET' | 'POST' | 'DELETE' | 'HEAD' | 'PUT';
  readonly path: string;
  readonly scope: Scope;
  /** It opens a link, which is no request that anybody waits for. */
  readonly isLink?: true;
  /** What a URL that leads here may be signed for, so that it needs no token. @throws {RelayError} invalid_request. */
  readonly signedFor?: (params: Readonly<Record<string, string>>) => SignedDataset;
  handle(context: Context, call: Call): void | Promise<void>;
}

/** Whether it is for connectors, whose requests belong to those that they answer. */
export const isConnectorScope = (scope: Scope): boolean => scope === 'connector' || scope === 'answer';

/** As whose a request counts; undefined for what nobody has to wait for, and for links, which are counted as connections. */
export function sideOf({ scope, isLink }: Route): RequestSide | undefined {
  if (isLink) return undefined;
  // Whoever watches the router sees it also when it is full.
  if (scope === 'public' || scope === 'metrics') return undefined;
  return isConnectorScope(scope) ? 'connector' : 'app';
}

/** What a method and a path lead to. */
export type Match =
  | { readonly kind: 'route'; readonly route: Route; readonly params: Record<string, string> }
  | { readonly kind: 'wrong_method'; readonly allow: string }
  | { readonly kind: 'none' };

/** Finds routes by path. A HEAD goes to the GET of the same path where there is none of its own. */
export class RouteTable {
  readonly #byPath: { pattern: RegExp; routes: Route[] }[] = [];

  constructor(routes: readonly Route[]) {
    const grouped = Map.groupBy(routes, (route) => route.path);
    for (const [path, sharing] of grouped) this.#byPath.push({ pattern: compile(path), routes: sharing });
  }

  /** @throws {RelayError} invalid_request when a part is not percent-encoded UTF-8. */
  find(method: string, given: string): Match {
    const path = removeDots(given);
    for (const { pattern, routes } of this.#byPath) {
      const match = pattern.exec(path);
      if (match === null) continue;
      const route =
        routes.find((candidate) => candidate.method === method) ??
        routes.find(({ method: own }) => own === 'GET' && method === 'HEAD');
      if (route === undefined) return { kind: 'wrong_method', allow: allowed(routes) };
      return { kind: 'route', route, params: decodeParams(match.groups ?? {}) };
    }
    return { kind: 'none' };
  }
}

/** The path and the query of a request's target; the query without its `?`, and empty where there is none. */
export function splitTarget(target = '/'): { path: string; query: string } {
  const at = target.indexOf('?');
  return at < 0 ? { path: target, query: '' } : { path: target.slice(0, at), query: target.slice(at + 1) };
}

/** What whoever made a request may do, by a signed URL or a token. @throws {RelayError} as {@link Access} says. */
export function admitMatch(
  access: Access,
  request: IncomingMessage,
  match: Match,
  query: URLSearchParams,
): Grant | Promise<Grant> {
  if (match.kind !== 'route') return access.admit(request, 'listing');
  const { params, route } = match;
  const { signedFor } = route;
  const granted = signedFor && access.admitUrl(request, () => signedFor(params), query);
  return granted ?? access.admit(request, route.scope);
}

/** A request's target as logs may have it: a signature is a credential. */
export function loggedTarget(target = '/'): string {
  const { path, query } = splitTarget(target);
  return new URLSearchParams(query).has('signature') ? `${path}?…` : target;
}

/**
 * The path without its parts that are a dot and mean nothing (RFC 3986 §5.2.4). Programs put one before a name that has a
 * colon, which would be a scheme otherwise (§4.2), and not all take it out before they send it.
 */
const removeDots = (path: string): string => path.replaceAll(/\/(?:\.\/)+/g, '/');

function compile(path: string): RegExp {
  const source = path.replace(/\{(\w+)(\.\.\.)?\}|[.*+?^$|()[\]\\]/g, (literal, name?: string, rest?: string) =>
    name === undefined ? `\\${literal}` : `(?<${name}>${rest ? '.+' : '[^/]+'})`,
  );
  return new RegExp(`^${source}$`);
}

function allowed(routes: readonly Route[]): string {
  const methods = new Set<string>(routes.map(({ method }) => method));
  if (methods.has('GET')) methods.add('HEAD');
  methods.add('OPTIONS');
  return [...methods].join(', ');
}

function decodeParams(groups: Record<string, string>): Record<string, string> {
  try {
    return Object.fromEntries(Object.entries(groups).map(([name, value]) => [name, decodeURIComponent(value)]));
  } catch (cause) {
    throw new RelayError('invalid_request', 'the path is not percent-encoded UTF-8', { cause });
  }
}
