import type { Logger } from '../observability/logger.ts';
import type { ConnectorInfo } from '../protocol/app.ts';
import { CLOSE } from '../protocol/close-codes.ts';
import type { Mac } from '../protocol/mac.ts';
import type { ConnectorBook, ConnectorFacts } from './connector-book.ts';
import type { Link } from './links/link.ts';

/** What the router knows of one connector, connected or not. */
interface Entry {
  readonly facts: ConnectorFacts;
  link: Link | undefined;
  /** It is connected, but takes no more commands. */
  draining: boolean;
  lastSeen: number;
  /** From when on it is waited for: when it was last seen, or the start of this router where it was connected to the last. */
  awaitedSince: number;
}

/** Most connectors that are known and not connected. Beyond, those that were gone for the longest time are forgotten. */
const MAX_OFFLINE = 100_000;
/** So many at once, since finding them means looking at all. */
const FORGET_BATCH = 1000;

/** Told when a link can take commands, and when it no longer can. */
export interface RegistryListener {
  linkUp(link: Link): void;
  linkDown(link: Link): void;
}

/** Who is connected, or was: one link for each MAC, the newest wins. */
export class Registry {
  readonly #entries = new Map<Mac, Entry>();
  readonly #logger: Logger;
  #listener: RegistryListener | undefined;
  #online = 0;
  readonly #book: ConnectorBook | undefined;
  readonly #maxOffline: number;
  /** Links that this router itself sent away. */
  readonly #sentAway = new WeakSet<Link>();
  /** Called when the last link is gone. */
  #onEmpty: (() => void) | undefined;

  /** @param book what former processes knew, and where this one notes who comes and goes. */
  constructor(logger: Logger, book?: ConnectorBook, maxOffline = MAX_OFFLINE) {
    this.#logger = logger;
    this.#book = book;
    this.#maxOffline = maxOffline;
    const now = Date.now();
    for (const { facts, lastSeen, isExpected } of book?.load() ?? []) {
      const awaitedSince = isExpected ? now : lastSeen;
      this.#entries.set(facts.mac, { facts, link: undefined, draining: false, lastSeen, awaitedSince });
    }
    this.#forgetOldest();
  }

  setListener(listener: RegistryListener): void {
    this.#listener = listener;
  }

  /** Takes a new link; an older one with the same MAC is closed and told why. */
  connect(link: Link): void {
    const { mac, remote, instance, version, name, labels } = link.hello;
    const previous = this.#entries.get(mac);
    const isFirst = previous?.link === undefined;
    if (isFirst) this.#online++;
    const now = Date.now();
    const facts = { mac, version, name, labels };
    this.#entries.set(mac, { facts, link, draining: false, lastSeen: now, awaitedSince: now });
    this.#book?.noteConnected(facts, now, isFirst);
    const log = this.#logger.child({ mac, link: link.kind, remote });
    if (previous?.link !== undefined) {
      // The same process coming back on a new connection is usual; another one claiming the MAC is somebody's mistake.
      const same = instance !== null && previous.link.hello.instance === instance;
      if (same) log.info('the connector reconnected; its old link is closed');
      else
        log.warn(
          { previous: previous.link.hello.remote },
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
    this.#see(entry);
    this.#book?.noteGone(entry.facts.mac, entry.lastSeen, this.#sentAway.has(link));
    this.#forgetOldest();
    this.#logger.info({ mac: link.hello.mac, link: link.kind, reason }, 'connector offline');
    this.#listener?.linkDown(link);
    if (this.#online === 0) this.#onEmpty?.();
  }

  /** Notes a sign of life. */
  touch(link: Link): void {
    const entry = this.#entries.get(link.hello.mac);
    if (entry?.link === link) this.#see(entry);
  }

  /** Ends a link because this router goes down: its connector is expected back. */
  sendAway(link: Link): void {
    this.#sentAway.add(link);
    link.close(CLOSE.draining, 'the router is going down');
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

  /** From when on `mac` is waited for, in ms since the epoch; undefined if it was never seen. */
  awaitedSince(mac: Mac): number | undefined {
    return this.#entries.get(mac)?.awaitedSince;
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

  /** Sends every link away. Resolves once all are gone, at the latest after `ms`. */
  async sendAllAway(ms: number): Promise<void> {
    const links = this.links();
    if (links.length === 0) return;
    const gone = Promise.withResolvers<void>();
    this.#onEmpty = gone.resolve;
    for (const link of links) this.sendAway(link);
    const timer = setTimeout(gone.resolve, ms);
    await gone.promise;
    clearTimeout(timer);
    this.#onEmpty = undefined;
  }

  /** Every link that is open. */
  links(): Link[] {
    return [...this.#entries.values()].flatMap((entry) => entry.link ?? []);
  }

  #see(entry: Entry): void {
    entry.lastSeen = Date.now();
    entry.awaitedSince = entry.lastSeen;
  }

  #forgetOldest(): void {
    const excess = this.#entries.size - this.#online - this.#maxOffline;
    if (excess <= 0) return;
    const offline = [...this.#entries.values()].filter(({ link }) => link === undefined);
    const batch = Math.min(offline.length, Math.max(excess, Math.min(FORGET_BATCH, Math.ceil(this.#maxOffline / 100))));
    const oldest = offline.toSorted((a, b) => a.lastSeen - b.lastSeen).slice(0, batch);
    const macs = oldest.map(({ facts }) => facts.mac);
    for (const mac of macs) this.#entries.delete(mac);
    this.#book?.forget(macs);
    this.#logger.warn({ count: macs.length }, 'connectors that have been away for the longest time are forgotten');
  }
}

function toInfo({ facts, link, lastSeen }: Entry): ConnectorInfo {
  const expiresAt = link?.hello.grant.expiresAt;
  return {
    mac: facts.mac,
    state: link === undefined ? 'offline' : 'online',
    last_seen: new Date(lastSeen).toISOString(),
    link: link?.kind ?? null,
    version: facts.version,
    name: facts.name,
    labels: { ...facts.labels },
    ...(expiresAt !== undefined && { token_expires_at: new Date(expiresAt).toISOString() }),
  };
}
