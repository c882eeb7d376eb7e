import { RelayError } from '../../protocol/errors.ts';
import type { Refusals } from './refusals.ts';
import type { LimitSettings } from './settings.ts';

/** When to ask again, in seconds: long enough for some of what runs to end. */
const RETRY_AFTER_S = 5;

/** How many bodies connectors may send at once for each request that apps may make: an upload sends four parts. */
const POSTS_PER_REQUEST = 4;

/** Who makes requests: a token, or an address where there is none. */
export interface Client {
  /** The id of its token. */
  readonly tokenId: string | undefined;
  readonly address: string;
}

/** What a client is counted by. */
export const clientKey = ({ tokenId, address }: Client): string => tokenId ?? `at ${address}`;

/** `app`: what is answered to apps. `connector`: what connectors send, which is what ends the others. */
export type RequestSide = 'app' | 'connector';

/** The place of one request among those that are held. It is free again once everybody who held it has let go. */
export class Slot {
  #holders = 0;
  #isFree = false;
  readonly #free: () => void;

  constructor(free: () => void) {
    this.#free = free;
  }

  /** Keeps the place. @returns what lets go of it; a second call does nothing. */
  hold(): () => void {
    this.#holders++;
    let held = true;
    return () => {
      if (!held) return;
      held = false;
      if (--this.#holders > 0 || this.#isFree) return;
      this.#isFree = true;
      this.#free();
    };
  }
}

/**
 * Counts the requests that are held: from where they are admitted until they are answered or, where they outlive their
 * answer, until they end. Apps and connectors are counted apart, since the bodies of the ones end the requests of the others.
 */
export class RequestLimits {
  readonly #settings: LimitSettings;
  readonly #refusals: Refusals;
  readonly #held: Record<RequestSide, number> = { app: 0, connector: 0 };
  readonly #byClient = new Map<string, number>();

  constructor(settings: LimitSettings, refusals: Refusals) {
    this.#settings = settings;
    this.#refusals = refusals;
  }

  /** How many are held. */
  count(side: RequestSide): number {
    return this.#held[side];
  }

  /**
   * Takes a place. Whoever gets it has to hold it.
   * @param client undefined where only the sum counts.
   * @throws {RelayError} too_many_requests when this client has as many as it may; overloaded when all together have.
   */
  admit(side: RequestSide, client: Client | undefined): Slot {
    const { maxRequests, maxRequestsPerClient } = this.#settings;
    const key = client && `${side} ${clientKey(client)}`;
    const own = key === undefined ? 0 : (this.#byClient.get(key) ?? 0);
    const facts = client && { remote: client.address, token_id: client.tokenId };
    if (own >= maxRequestsPerClient) {
      this.#refusals.note('requests_per_client', facts);
      throw new RelayError(
        'too_many_requests',
        `this client has ${own} requests that wait or run, and may have no more; ask again when some have ended`,
        { details: { retry_after: RETRY_AFTER_S } },
      );
    }
    if (this.#held[side] >= (side === 'app' ? maxRequests : maxRequests * POSTS_PER_REQUEST)) {
      this.#refusals.note(side === 'app' ? 'requests' : 'posts', facts);
      throw new RelayError(
        'overloaded',
        'the router has as many requests that wait or run as it may; try again later',
        {
          details: { retry_after: RETRY_AFTER_S },
        },
      );
    }
    this.#held[side]++;
    if (key !== undefined) this.#byClient.set(key, own + 1);
    return new Slot(() => {
      this.#held[side]--;
      if (key === undefined) return;
      const left = (this.#byClient.get(key) as number) - 1;
      if (left === 0) this.#byClient.delete(key);
      else this.#byClient.set(key, left);
    });
  }
}
