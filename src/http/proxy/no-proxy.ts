import { BlockList, isIP } from 'node:net';
import { addRange, parseAddressRange } from '../address-range.ts';

/** Whether a host is one that is reached without a proxy. */
export type NoProxy = (host: string, port: number) => boolean;

interface Entry {
  readonly name: string;
  /** 0 for any. */
  readonly port: number;
}

/**
 * Reads a `NO_PROXY` list as curl does: names with commas or spaces between them, each of which stands for itself and all
 * below it, addresses, and ranges of addresses (`10.0.0.0/8`); `*` for everything. A port (`name:8080`) narrows an entry to
 * it, and a name may begin with a dot or `*.`, as other programs have it.
 */
export function parseNoProxy(list: string): NoProxy {
  const words = list
    .toLowerCase()
    .split(/[\s,]+/)
    .filter(Boolean);
  if (words.includes('*')) return () => true;
  const ranges = new BlockList();
  const entries: Entry[] = [];
  for (const word of words) {
    const range = parseAddressRange(word);
    if (range === undefined) entries.push(parseEntry(word));
    else addRange(ranges, range);
  }
  return (rawHost, port) => {
    const host = bare(rawHost);
    const family = isIP(host);
    if (family !== 0 && ranges.check(host, family === 6 ? 'ipv6' : 'ipv4')) return true;
    return entries.some(
      (entry) =>
        (entry.port === 0 || entry.port === port) &&
        (host === entry.name || (family === 0 && host.endsWith(`.${entry.name}`))),
    );
  };
}

function parseEntry(word: string): Entry {
  // Without brackets, what follows the last colon of an IPv6 address is a part of it.
  const [, name = word, port = '0'] = isIP(word) === 6 ? [] : (/^(.+):(\d{1,5})$/.exec(word) ?? []);
  return { name: bare(name.replace(/^\*?\./, '')), port: Number(port) };
}

/** A host without the brackets of IPv6 and the dot that may end a full name. */
const bare = (host: string): string =>
  host
    .toLowerCase()
    .replace(/^\[(.*)\]$/, '$1')
    .replace(/\.$/, '');
