import type { IncomingMessage, ServerResponse } from 'node:http';
import { networkOf } from '../../http/address-range.ts';
import type { Logger } from '../../observability/logger.ts';
import { RelayError } from '../../protocol/errors.ts';
import type { Mac } from '../../protocol/mac.ts';
import type { Grant } from '../access/grant.ts';
import { BufferBudget } from '../buffer-budget.ts';
import { ConnectionLimits } from './connections.ts';
import { LinkLimits } from './links.ts';
import type { Pace } from '../../http/pace.ts';
import { Rates } from './rates.ts';
import { type RefusalReason, Refusals } from './refusals.ts';
import { type Client, RequestLimits, type RequestSide, type Slot } from './requests.ts';
import type { LimitSettings } from './settings.ts';

/** Header fields that a request may have (as many as Apache allows). */
const MAX_HEADER_FIELDS = 100;

/** How fast a body has to come once it has used up its time. */
const MIN_BODY_BYTES_PER_SECOND = 1024;

interface LimitsOptions {
  readonly settings: LimitSettings;
  /** The address of whoever made a request. */
  readonly addressOf: (request: IncomingMessage) => string;
  /** Whether an address is that of a proxy through which many come, so that it is not counted by itself. */
  readonly isTrustedProxy: (address: string) => boolean;
  /** Told of each refusal, for the metrics. */
  readonly countRefusal: (reason: RefusalReason) => void;
  readonly logger: Logger;
}

/** What one router takes on at most. `docs/limits.md` has the whole of it. */
export class Limits {
  readonly refusals: Refusals;
  readonly requests: RequestLimits;
  readonly connections: ConnectionLimits;
  /** Memory for JSON bodies that are being read. */
  readonly bodies: BufferBudget;
  /** How long a JSON body may take. */
  readonly bodyPace: { readonly timeoutMs: number; readonly minBytesPerSecond: number };
  readonly #options: LimitsOptions;
  readonly #links: LinkLimits;
  readonly #rates: Rates;

  constructor(options: LimitsOptions) {
    const { settings, isTrustedProxy, logger, countRefusal } = options;
    this.#options = options;
    this.refusals = new Refusals(logger, countRefusal);
    this.requests = new RequestLimits(settings, this.refusals);
    this.connections = new ConnectionLimits(settings, this.refusals, isTrustedProxy);
    this.#links = new LinkLimits(this.refusals);
    this.#rates = new Rates(settings.maxBytesPerSecond);
    this.bodies = new BufferBudget(settings.bodyTotalBytes, {
      exhausted: 'the router reads as many bodies as it has memory for; try again',
      onRefused: () => this.refusals.note('memory'),
    });
    this.bodyPace = { timeoutMs: settings.bodyTimeoutMs, minBytesPerSecond: MIN_BODY_BYTES_PER_SECOND };
  }

  /** @throws {RelayError} invalid_request when a request has more header fields than anybody needs. */
  checkHead(request: IncomingMessage): void {
    if (request.rawHeaders.length / 2 <= MAX_HEADER_FIELDS) return;
    this.refusals.note('header_size', { remote: this.#options.addressOf(request) });
    throw new RelayError('invalid_request', `the request has more than ${MAX_HEADER_FIELDS} header fields`);
  }

  /**
   * Takes a request on, until its response is closed or whoever else holds its slot lets go. A connector without a token
   * has no name yet, and counts only in the sum.
   * @throws {RelayError} too_many_requests, overloaded beyond a limit.
   */
  admit(side: RequestSide, request: IncomingMessage, response: ServerResponse, grant: Grant): Slot {
    const { tokenId } = grant;
    const client = this.#clientOf(request, tokenId);
    const slot = this.requests.admit(side, side === 'connector' && tokenId === undefined ? undefined : client);
    const letGo = slot.hold();
    // Whoever asked may have gone away while the token was looked at.
    if (response.destroyed || request.socket.destroyed) letGo();
    else response.once('close', letGo);
    return slot;
  }

  /**
   * The pace at which whoever made a request is sent datasets; undefined for as fast as it goes.
   * @param tokenId of the token that it was made with.
   */
  paceOf(request: IncomingMessage, tokenId: string | undefined): Pace | undefined {
    return this.#rates.of(this.#clientOf(request, tokenId));
  }

  #clientOf(request: IncomingMessage, tokenId: string | undefined): Client {
    return { tokenId, address: networkOf(this.#options.addressOf(request)) };
  }

  /** Takes an attempt to open a link. @throws {RelayError} too_many_requests when there were too many of late. */
  admitLink(mac: Mac, request: IncomingMessage): void {
    this.#links.admit(mac, this.#options.addressOf(request));
  }

  /** Notes a body that came too slowly. */
  noteSlowBody(request: IncomingMessage): void {
    this.refusals.note('body_timeout', { remote: this.#options.addressOf(request) });
  }

  /** Notes a JSON body that is larger than any may be. */
  noteLargeBody(request: IncomingMessage): void {
    this.refusals.note('body_size', { remote: this.#options.addressOf(request) });
  }

  /** Ends the connection of a request that was answered when what is left of its body does not come in time. */
  endLeftover(request: IncomingMessage, response: ServerResponse): void {
    response.once('finish', () => {
      if (request.complete) return;
      const { socket } = request;
      const timer = setTimeout(() => {
        if (!request.complete) socket.destroy();
      }, this.bodyPace.timeoutMs);
      request.once('close', () => clearTimeout(timer));
      socket.once('close', () => clearTimeout(timer));
    });
  }
}
