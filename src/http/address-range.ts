import { type BlockList, isIP } from 'node:net';

/** One address, or a range of them. */
interface AddressRange {
  readonly address: string;
  readonly family: 'ipv4' | 'ipv6';
  /** How many bits all of them share. */
  readonly bits: number;
}

/** Reads an address or a range in CIDR notation (RFC 4632 §3.1), such as `10.0.0.0/8`. @returns undefined for anything else. */
export function parseAddressRange(text: string): AddressRange | undefined {
  const [, name = '', suffix] = /^\[?([^[\]/]+)\]?(?:\/(\d{1,3}))?$/.exec(text) ?? [];
  const version = isIP(name);
  if (version === 0 || name.includes('%')) return undefined;
  const mostBits = version === 6 ? 128 : 32;
  const bits = suffix === undefined ? mostBits : Number(suffix);
  return bits > mostBits ? undefined : { address: name, family: version === 6 ? 'ipv6' : 'ipv4', bits };
}

/** Adds a range to a list. */
export function addRange(list: BlockList, { address, family, bits }: AddressRange): void {
  list.addSubnet(address, bits, family);
}

/**
 * The one spelling of an address: IPv6 in its shortest form, without zone and brackets; IPv4 that is mapped into IPv6 as
 * IPv4 (RFC 4291 §2.5.5.2). @returns undefined for what is no address.
 */
export function normalizeAddress(text: string): string | undefined {
  if (isIP(text) === 4) return text;
  const bare = text.replace(/^\[(.*)\]$/, '$1').replace(/%.*$/, '');
  const version = isIP(bare);
  if (version !== 6) return version === 4 ? bare : undefined;
  const short = new URL(`http://[${bare}]`).hostname.slice(1, -1);
  const [, high, low] = /^::ffff:([\da-f]{1,4}):([\da-f]{1,4})$/.exec(short) ?? [];
  if (high === undefined || low === undefined) return short;
  const [a, b] = [Number.parseInt(high, 16), Number.parseInt(low, 16)];
  return [a >> 8, a & 255, b >> 8, b & 255].join('.');
}

/** What counts as one address where each may have only so much: of IPv6 the /64, since one host may have all of that. */
export function networkOf(address: string): string {
  const normal = normalizeAddress(address);
  if (normal === undefined || !normal.includes(':')) return normal ?? address;
  const [head = '', tail] = normal.split('::');
  const before = head === '' ? [] : head.split(':');
  const after = tail === undefined || tail === '' ? [] : tail.split(':');
  const zeros = tail === undefined ? [] : Array.from({ length: 8 - before.length - after.length }, () => '0');
  return [...before, ...zeros, ...after].slice(0, 4).join(':');
}
