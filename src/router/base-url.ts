import type { IncomingMessage } from 'node:http';

/** Makes the URLs that the router hands out, and knows its path prefix. */
export class BaseUrl {
  readonly #publicUrl: string | undefined;
  /** The path under which the router stands, without a trailing slash; empty at the root. */
  readonly prefix: string;

  constructor(publicUrl: URL | undefined) {
    this.prefix = publicUrl === undefined ? '' : publicUrl.pathname.replace(/\/+$/, '');
    this.#publicUrl = publicUrl === undefined ? undefined : publicUrl.origin + this.prefix;
  }

  /** The base by which whoever sent this request reaches the router, without a trailing slash. */
  of(request: IncomingMessage): string {
    if (this.#publicUrl !== undefined) return this.#publicUrl;
    const scheme = 'encrypted' in request.socket ? 'https' : 'http';
    const { localAddress = '127.0.0.1', localPort } = request.socket;
    const host =
      request.headers.host ?? `${localAddress.includes(':') ? `[${localAddress}]` : localAddress}:${localPort}`;
    return `${scheme}://${host}`;
  }

  /** The path below the base. A proxy in front may have stripped the prefix or left it. */
  strip(path: string): string {
    if (this.prefix === '' || !path.startsWith(this.prefix)) return path;
    const rest = path.slice(this.prefix.length);
    return rest.startsWith('/') ? rest : rest === '' ? '/' : path;
  }
}
