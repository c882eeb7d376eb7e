import type { IncomingMessage } from 'node:http';
import { ForwardingReader, parseHost } from './forwarding.ts';

/** Makes the URLs that the router hands out, and knows its path prefix. */
export class BaseUrl {
  readonly #publicUrl: string | undefined;
  /** The path of the public URL, without a trailing slash; empty at the root and where there is none. */
  readonly prefix: string;
  readonly #forwarding: ForwardingReader;

  /** @param forwarding tells what trusted proxies say of a request; it does not count beside a public URL. */
  constructor(publicUrl: URL | undefined, forwarding = new ForwardingReader([])) {
    this.prefix = publicUrl === undefined ? '' : publicUrl.pathname.replace(/\/+$/, '');
    this.#publicUrl = publicUrl === undefined ? undefined : publicUrl.origin + this.prefix;
    this.#forwarding = forwarding;
  }

  /** The base by which whoever sent this request reaches the router, without a trailing slash. */
  of(request: IncomingMessage): string {
    if (this.#publicUrl !== undefined) return this.#publicUrl;
    const { scheme, host, prefix = '' } = this.#forwarding.read(request);
    const { localAddress = '127.0.0.1', localPort } = request.socket;
    const own = 'encrypted' in request.socket ? 'https' : 'http';
    const local = `${localAddress.includes(':') ? `[${localAddress}]` : localAddress}:${localPort}`;
    return `${scheme ?? own}://${host ?? parseHost(request.headers.host) ?? local}${prefix}`;
  }

  /**
   * The path below the base. A proxy in front may have stripped the prefix or left it.
   * @param request tells what prefix trusted proxies say that there is.
   */
  strip(path: string, request?: IncomingMessage): string {
    const isFixed = this.#publicUrl !== undefined || request === undefined;
    const prefix = isFixed ? this.prefix : (this.#forwarding.read(request).prefix ?? '');
    if (prefix === '' || !path.startsWith(prefix)) return path;
    const rest = path.slice(prefix.length);
    return rest.startsWith('/') ? rest : rest === '' ? '/' : path;
  }
}
