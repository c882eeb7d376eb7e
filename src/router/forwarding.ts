import type { IncomingMessage } from 'node:http';
import { BlockList, isIPv6 } from 'node:net';
import { addRange, normalizeAddress, parseAddressRange } from '../http/address-range.ts';

/** What a request tells of its way, as far as it can be believed. */
export interface Forwarding {
  /** The address of the client: the last that a trusted proxy saw. */
  readonly address: string;
  /** How the client reached the outermost trusted proxy; each undefined where no such proxy said so. */
  readonly scheme: 'http' | 'https' | undefined;
  readonly host: string | undefined;
  /** Begins with a slash and ends without one. */
  readonly prefix: string | undefined;
}

/** One step that a proxy noted. */
interface Step {
  readonly address: string | undefined;
  readonly scheme: string | undefined;
  readonly host: string | undefined;
}

/** Reads forwarding headers, of those proxies only that are trusted. */
export class ForwardingReader {
  readonly #trusted = new BlockList();
  readonly #trustsAny: boolean;

  /** @param trusted addresses and ranges, as {@link parseAddressRange} reads them. */
  constructor(trusted: readonly string[]) {
    for (const text of trusted) {
      const range = parseAddressRange(text);
      if (range !== undefined) addRange(this.#trusted, range);
    }
    this.#trustsAny = trusted.length > 0;
  }

  /**
   * Walks the way back from the peer, past every trusted proxy, up to the first that is not. What anybody before that claims
   * is not looked at. `X-Forwarded-…` counts before `Forwarded` (RFC 7239): a proxy that sets the one passes the other on.
   */
  read({ headers, socket }: Pick<IncomingMessage, 'headers' | 'socket'>): Forwarding {
    let address = normalizeAddress(socket.remoteAddress ?? '') ?? '';
    if (!this.#trusts(address)) return { address, scheme: undefined, host: undefined, prefix: undefined };
    const isOld = Object.keys(headers).some((name) => /^x-forwarded-(?:for|proto|host)$/.test(name));
    const steps = isOld ? undefined : parseForwarded(field(headers, 'forwarded'));
    const addresses = steps?.map((step) => step.address) ?? splitList(field(headers, 'x-forwarded-for'));
    let proxies = 1;
    for (const text of addresses.toReversed()) {
      const next = parseNode(text ?? '');
      // Beyond what cannot be read, nothing is known.
      if (next === undefined) break;
      address = next;
      if (!this.#trusts(next)) break;
      proxies += 1;
    }
    const schemes = steps?.map((step) => step.scheme) ?? splitList(field(headers, 'x-forwarded-proto'));
    const hosts = steps?.map((step) => step.host) ?? splitList(field(headers, 'x-forwarded-host'));
    return {
      address,
      scheme: parseScheme(nthFromEnd(schemes, proxies)),
      host: parseHost(nthFromEnd(hosts, proxies)),
      prefix: parsePrefix(nthFromEnd(splitList(field(headers, 'x-forwarded-prefix')), proxies)),
    };
  }

  /** Whether this address, as a socket has it, is a trusted proxy's. */
  trusts(address: string): boolean {
    return this.#trusts(normalizeAddress(address) ?? '');
  }

  #trusts(address: string): boolean {
    return this.#trustsAny && address !== '' && this.#trusted.check(address, isIPv6(address) ? 'ipv6' : 'ipv4');
  }
}

/** A host with or without a port, as a `Host` may have it; undefined for anything else. */
export function parseHost(text: string | undefined): string | undefined {
  if (text === undefined || text.length > 300 || !/^(?:[\w.-]+|\[[\da-f:.]+\])(?::\d{1,5})?$/i.test(text))
    return undefined;
  return URL.canParse(`http://${text}`) ? text : undefined;
}

function parseScheme(text: string | undefined): 'http' | 'https' | undefined {
  const scheme = text?.toLowerCase();
  // Some say what the connection is used for.
  if (scheme === 'https' || scheme === 'wss') return 'https';
  return scheme === 'http' || scheme === 'ws' ? 'http' : undefined;
}

function parsePrefix(text: string | undefined): string | undefined {
  const prefix = text?.replace(/\/+$/, '') ?? '';
  if (prefix.length > 1024 || !/^(?:\/[\w.~!$&'()*+;=:@%-]+)+$/.test(prefix)) return undefined;
  return prefix.split('/').some((part) => part === '.' || part === '..') ? undefined : prefix;
}

/** An address as headers have it: with a port or without, IPv6 in brackets, in quotes. */
function parseNode(text: string): string | undefined {
  const bare = text.replace(/^"(.*)"$/, '$1');
  const [, host = bare] = /^(\[[^\]]*\]|[^:]*):\d{1,5}$/.exec(bare) ?? [];
  return normalizeAddress(host);
}

/** What the `count`-th proxy, counted from this end, noted; of shorter lists the first. */
const nthFromEnd = <T>(list: readonly T[], count: number): T | undefined => list.at(-Math.min(count, list.length));

const field = (headers: IncomingMessage['headers'], name: string): string => {
  const value = headers[name];
  return typeof value === 'string' ? value : (value?.join(',') ?? '');
};

const splitList = (text: string): string[] => (text.trim() === '' ? [] : text.split(',').map((part) => part.trim()));

function parseForwarded(text: string): Step[] {
  // Commas and semicolons within quotes are none.
  const elements = text.match(/(?:"(?:[^"\\]|\\.)*"|[^,"])+/g) ?? [];
  return elements.map((element) => {
    const pairs = element.match(/(?:"(?:[^"\\]|\\.)*"|[^;"])+/g) ?? [];
    const found = new Map(pairs.map((pair) => splitPair(pair)));
    return { address: found.get('for'), scheme: found.get('proto'), host: found.get('host') };
  });
}

function splitPair(pair: string): [string, string] {
  const at = pair.indexOf('=');
  const value = pair.slice(at + 1).trim();
  const plain = /^".*"$/.test(value) ? value.slice(1, -1).replace(/\\(.)/g, '$1') : value;
  return [pair.slice(0, Math.max(at, 0)).trim().toLowerCase(), plain];
}
