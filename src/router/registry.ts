import type { Logger } from '../observability/logger.ts';
import type { ConnectorInfo } from '../protocol/app.ts';
import { CLOSE } from '../protocol/close-codes.ts';
import type { Mac } from '../protocol/mac.ts';
import type { Hello, Link } from './links/link.ts';

/** What the router knows of one connector, connected or not. */
interface Entry {
  hello: Hello;
  link: Link | undefined;
  /** It is connected, but takes no more commands. */
  draining: boolean;
  lastSeen: number;
}

/** Told when a link can take commands, and when it no longer can. */
export interface RegistryListener {
  linkUp(link: Link): void;
  linkDown(link: Link): void;
}

/** Who is connected: one link for each MAC, the newest wins. */
export class Registry {
  readonly #entries = new Map<Mac, Entry>();
  readonly #logger: Logger;
  #listener: RegistryListener | undefined;
  #online = 0;
  /** Called when the last link is gone. */
  #onEmpty: (() => void) | undefined;

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  setListener(listener: RegistryListener): void {
    this.#listener = listener;
  }

  /** Takes a new link; an older one with the same MAC is closed and told why. */
  connect(link: Link): void {
    const { mac, remote, instance } = link.hello;
    const previous = this.#entries.get(mac);
    if (previous?.link === undefined) this.#online++;
    this.#entries.set(mac, { hello: link.hello, link, draining: false, lastSeen: Date.now() });
    const log = this.#logger.child({ mac, link: link.kind, remote });
    if (previous?.link !== undefined) {
      // The same process coming back on a new connection is usual; another one claiming the MAC is somebody's mistake.
      const same = instance !== null && previous.hello.instance === instance;
      if (same) log.info('the connector reconnected; its old link is closed');
      else
        log.warn(
          { previous: previous.hello.remote },
          'another connector with the same MAC took over; if this repeats, two machines use one MAC',
        );
      this.#listener?.linkDown(previous.link);
      previous.link.close(CLOSE.replaced, `replaced by a newer connection from ${remote}`);
    } else {
      log.info({ version: link.hello.version, capabilities: [...link.hello.capabilities] }, 'connector online');
    }
    this.#listener?.linkUp(link);
  }

  /** A link is gone. One that was replaced before changes nothing. */
  disconnect(link: Link, reason: string): void {
    const entry = this.#entries.get(link.hello.mac);
    if (entry?.link !== link) return;
    entry.link = undefined;
    this.#online--;
    entry.draining = false;
    entry.lastSeen = Date.now();
    this.#logger.info({ mac: link.hello.mac, link: link.kind, reason }, 'connector offline');
    this.#listener?.linkDown(link);
    if (this.#online === 0) this.#onEmpty?.();
  }

  /** Notes a sign of life. */
  touch(link: Link): void {
    const entry = this.#entries.get(link.hello.mac);
    if (entry?.link === link) entry.lastSeen = Date.now();
  }

  /** The connector of this link asks for no more commands. */
  drain(link: Link): void {
    const entry = this.#entries.get(link.hello.mac);
    if (entry?.link !== link || entry.draining) return;
    entry.draining = true;
    this.#logger.info({ mac: link.hello.mac }, 'connector is draining');
  }

  /** The link that takes commands for `mac` now. */
  findLink(mac: Mac): Link | undefined {
    const entry = this.#entries.get(mac);
    return entry === undefined || entry.draining ? undefined : entry.link;
  }

  /** The link with this id, whether or not it still takes commands. */
  findLinkOf(mac: Mac): Link | undefined {
    return this.#entries.get(mac)?.link;
  }

  /** When `mac` was last heard of, in ms since the epoch; undefined if never. */
  lastSeen(mac: Mac): number | undefined {
    return this.#entries.get(mac)?.lastSeen;
  }

  /** What `mac` said of itself last; undefined if it was never seen. */
  describe(mac: Mac): ConnectorInfo | undefined {
    const entry = this.#entries.get(mac);
    return entry && toInfo(entry);
  }

  /** Those that were ever seen and are wanted, by MAC. */
  list(wanted: (mac: Mac) => boolean = () => true): ConnectorInfo[] {
    const macs = [...this.#entries.keys()].filter(wanted).toSorted();
    return macs.map((mac) => toInfo(this.#entries.get(mac) as Entry));
  }

  /** How many are connected, and how many are known but not. */
  count(): { online: number; offline: number } {
    return { online: this.#online, offline: this.#entries.size - this.#online };
  }

  /** Ends every link and tells its peer why. Resolves once all are gone, at the latest after `ms`. */
  async closeAll(code: number, reason: string, ms: number): Promise<void> {
    const links = this.links();
    if (links.length === 0) return;
    const gone = Promise.withResolvers<void>();
    this.#onEmpty = gone.resolve;
    for (const link of links) link.close(code, reason);
    const timer = setTimeout(gone.resolve, ms);
    await gone.promise;
    clearTimeout(timer);
    this.#onEmpty = undefined;
  }

  /** Every link that is open. */
  links(): Link[] {
    return [...this.#entries.values()].flatMap((entry) => entry.link ?? []);
  }
}

function toInfo({ hello, link, lastSeen }: Entry): ConnectorInfo {
  return {
    mac: hello.mac,
    state: link === undefined ? 'offline' : 'online',
    last_seen: new Date(lastSeen).toISOString(),
    link: link?.kind ?? null,
    version: hello.version,
    name: hello.name,
    labels: { ...hello.labels },
    ...(hello.grant.expiresAt !== undefined && { token_expires_at: new Date(hello.grant.expiresAt).toISOString() }),
  };
}
