import type { Logger } from '../../observability/logger.ts';
import { CLOSE } from '../../protocol/close-codes.ts';
import type { Mac } from '../../protocol/mac.ts';
import type { Grant } from '../access/grant.ts';
import type { Link } from './link.ts';

/** How often links are looked at, in ms, and so how late one may end. */
const INTERVAL_MS = 1000;

/** From how long before its end a token is warned of, and how often, in ms. */
const WARN_BEFORE_MS = 7 * 24 * 3_600_000;
const WARN_EVERY_MS = 24 * 3_600_000;

interface LinkExpiryOptions {
  readonly links: () => readonly Link[];
  readonly stillHolds: (grant: Grant) => boolean;
  readonly logger: Logger;
}

/** Ends the links whose tokens have expired, or whose secret was taken away, and warns before. */
export class LinkExpiry {
  readonly #options: LinkExpiryOptions;
  readonly #timer: NodeJS.Timeout;
  /** When each connector was warned of, in the last day: it may come by many links meanwhile. */
  readonly #warnedAt = new Map<Mac, number>();

  constructor(options: LinkExpiryOptions) {
    this.#options = options;
    this.#timer = setInterval(() => this.#look(), INTERVAL_MS);
  }

  close(): void {
    clearInterval(this.#timer);
  }

  #look(): void {
    const now = Date.now();
    for (const [mac, at] of this.#warnedAt) if (now - at >= WARN_EVERY_MS) this.#warnedAt.delete(mac);
    for (const link of this.#options.links()) {
      const { grant, mac } = link.hello;
      if (!this.#options.stillHolds(grant)) {
        const isExpired = grant.expiresAt !== undefined && grant.expiresAt <= now;
        link.close(
          CLOSE.notAuthorised,
          isExpired ? 'the token has expired' : 'the secret of the token is no longer valid',
        );
      } else if (grant.expiresAt !== undefined && grant.expiresAt - now < WARN_BEFORE_MS) {
        if (this.#warnedAt.has(mac)) continue;
        this.#warnedAt.set(mac, now);
        const expiresAt = new Date(grant.expiresAt).toISOString();
        this.#options.logger.warn({ mac, token_expires_at: expiresAt }, "a connector's token expires soon");
      }
    }
  }
}
