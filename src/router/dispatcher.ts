import { currentTrace } from '../observability/trace.ts';
import type { Command } from '../protocol/commands.ts';
import { RelayError } from '../protocol/errors.ts';
import { MAX_FRAME_BYTES } from '../protocol/limits.ts';
import type { Mac } from '../protocol/mac.ts';
import { RecentMap } from '../recent-map.ts';
import type { Grant } from './access/grant.ts';
import type { Logger } from '../observability/logger.ts';
import { Exchange, type ExchangeOptions, type ExchangeOwner } from './exchange.ts';
import type { Link } from './links/link.ts';
import type { Registry, RegistryListener } from './registry.ts';

/** How many ended exchanges are remembered at least, so that a POST sent again gets its first reply. */
const REMEMBERED_ENDED = 10_000;

/** When to ask a connector again that has too many requests, in seconds. */
const RETRY_AFTER_S = 5;

/** How long a transfer that cannot go on may stand still without a link, in ms: its last body may have been read already. */
const ORPHAN_TIMEOUT_MS = 5000;

/** What is remembered of an exchange that has ended; not what it held for its answer. */
type EndedExchange = Pick<Exchange, 'mac' | 'posts' | 'error' | 'askedBy'> & {
  /** Whether its result may still come over the link: it crossed the end of the exchange on its way. */
  isExpected: boolean;
};

export interface DispatcherOptions {
  readonly registry: Registry;
  /** How long a command waits for a connector that was seen lately, in ms. */
  readonly reconnectWaitMs: number;
  /** How long a transfer that broke off waits for its connector to come back and go on, in ms. */
  readonly resumeWaitMs: number;
  readonly logger: Logger;
  /** An exchange has ended. */
  readonly onEnd?: () => void;
  /** Most exchanges with one connector. */
  readonly maxPerConnector: number;
  /** Told when one has as many. */
  readonly onRefused: (mac: Mac) => void;
}

/** Brings commands to connectors, now or when they come back, and finds the exchange that an answer belongs to. */
export class Dispatcher implements RegistryListener {
  readonly #registry: Registry;
  readonly #options: DispatcherOptions;
  readonly #live = new Map<string, Exchange>();
  readonly #byMac = new Map<Mac, Set<Exchange>>();
  readonly #owner: ExchangeOwner = {
    ended: (exchange) => this.#forget(exchange),
    fellSilent: (exchange) => this.#askAgain(exchange),
  };
  /** Where a transfer was when it fell silent and its connector was asked again: that helps once, or not. */
  readonly #askedAgain = new WeakMap<Exchange, number>();
  readonly #ended = new RecentMap<string, EndedExchange>(REMEMBERED_ENDED);
  /** Set when no connector will come back to this router. */
  #draining: RelayError | undefined;

  constructor(options: DispatcherOptions) {
    this.#options = options;
    this.#registry = options.registry;
    options.registry.setListener(this);
  }

  /** How many exchanges are under way. */
  get size(): number {
    return this.#live.size;
  }

  /** @throws {RelayError} overloaded when a connector has as many exchanges as it may. */
  requireRoom(mac: Mac): void {
    const count = this.#byMac.get(mac)?.size ?? 0;
    if (count < this.#options.maxPerConnector) return;
    this.#options.onRefused(mac);
    throw new RelayError('overloaded', `the connector ${mac} has ${count} requests to answer already`, {
      details: { retry_after: RETRY_AFTER_S },
    });
  }

  /**
   * Sends a command, or keeps it until its connector is back. Fails at once when it is not expected back, or has too many.
   */
  submit(options: ExchangeOptions): Exchange {
    const traceparent = options.traceparent ?? currentTrace();
    try {
      this.requireRoom(options.mac);
    } catch (error) {
      const refused = new Exchange(options, { ended: () => {}, fellSilent: () => false });
      refused.fail(RelayError.from(error));
      return refused;
    }
    const exchange = new Exchange({ ...options, traceparent }, this.#owner);
    this.#live.set(exchange.id, exchange);
    const sameMac = this.#byMac.get(exchange.mac);
    if (sameMac === undefined) this.#byMac.set(exchange.mac, new Set([exchange]));
    else sameMac.add(exchange);
    const link = this.#registry.findLink(exchange.mac);
    if (link === undefined || !this.#send(exchange, link)) this.#wait(exchange);
    return exchange;
  }

  /** The exchange that is under way with this id. @throws {RelayError} request_gone, or what ended it. */
  find(id: string): Exchange {
    const exchange = this.#live.get(id);
    if (exchange !== undefined) return exchange;
    const ended = this.#ended.get(id);
    if (ended?.error?.code === 'cancelled') throw ended.error;
    throw new RelayError('request_gone', 'there is no such request, or it has ended', { details: { request_id: id } });
  }

  /** The exchange that is under way with this id. */
  findLive(id: string): Exchange | undefined {
    return this.#live.get(id);
  }

  /** A result came for an exchange that has ended. @returns whether its connector could not know that. */
  expectsLate(id: string, mac: Mac): boolean {
    const ended = this.#ended.get(id);
    if (ended?.isExpected !== true || ended.mac !== mac) return false;
    ended.isExpected = false;
    return true;
  }

  /** What is remembered of an exchange that has ended with this id. */
  findEnded(id: string): EndedExchange | undefined {
    return this.#ended.get(id);
  }

  /** What the token with this fingerprint granted, if it opened a link by which anything was asked that is remembered. */
  findAsked(fingerprint: string): Grant | undefined {
    for (const exchanges of [this.#live.values(), this.#ended.values()]) {
      for (const { askedBy } of exchanges) {
        const grant = askedBy.get(fingerprint);
        if (grant !== undefined) return grant;
      }
    }
    return undefined;
  }

  /** Fails all that is under way. */
  failAll(error: RelayError): void {
    for (const exchange of this.#live.values()) exchange.fail(error);
  }

  /** Whether a command for `mac` waits, or is being answered. */
  isBusy(mac: Mac): boolean {
    return this.#byMac.has(mac);
  }

  /** No link comes any more: what waits for one, or would from now on, fails with `error`. */
  drain(error: RelayError): void {
    this.#draining = error;
    for (const exchange of this.#live.values()) if (exchange.state === 'waiting') exchange.fail(error);
  }

  linkUp(link: Link): void {
    // A copy: what is submitted meanwhile goes down the new link by itself.
    for (const exchange of Array.from(this.#byMac.get(link.hello.mac) ?? [])) {
      exchange.noteLink(link);
      // What was said down the old link may be lost.
      if (exchange.arriving > 0) this.sayReceiving(exchange);
      if (exchange.state === 'waiting') this.#send(exchange, link);
      else if (exchange.answer.transfer?.isBegun === true) {
        // A body that arrives is left alone, whatever became of the link.
        if (exchange.arriving === 0) this.#goOn(exchange, link);
      } else if (exchange.state === 'sent') {
        // Written to a link that is gone, and nothing came of it: maybe it was never read.
        if (exchange.options.resend === 'always' || link.hello.capabilities.has('offset')) this.#send(exchange, link);
        else if (exchange.arriving === 0) exchange.fail(lost());
      } else if (canTakeOver(exchange) && isOtherProcess(exchange.link, link)) {
        // What uploaded to the store is gone; another takes over, and learns which parts are there.
        this.#send(exchange, link);
      }
    }
  }

  linkDown(link: Link): void {
    for (const exchange of Array.from(this.#byMac.get(link.hello.mac) ?? [])) {
      if (exchange.link !== link) continue;
      if (exchange.state === 'sent') {
        if (this.#draining !== undefined && exchange.arriving === 0) exchange.fail(this.#draining);
        else exchange.setDeadline(this.#options.reconnectWaitMs, () => this.#offline(exchange.mac));
      } else if (exchange.state === 'answering' && exchange.arriving === 0) this.orphan(exchange);
    }
  }

  /** Nothing arrives for this exchange and its connector has no link: it gets some time to come back. */
  orphan(exchange: Exchange): void {
    const { transfer } = exchange.answer;
    if (exchange.ended || transfer === undefined) return;
    const waitMs = transfer.resumption === undefined ? ORPHAN_TIMEOUT_MS : this.#options.resumeWaitMs;
    exchange.setDeadline(waitMs, () => brokeOff(exchange));
  }

  /** A body of the connector's ended early, in an exchange that may still go on. */
  bodyBroke(exchange: Exchange): void {
    // Asked again, it begins anew by itself.
    if (exchange.state !== 'answering' || exchange.arriving > 0) return;
    const link = this.#registry.findLinkOf(exchange.mac);
    if (link === undefined) this.orphan(exchange);
    else this.#goOn(exchange, link);
  }

  /** An answer stands still, and there is a link: by the process that gave it so far, or by one that has to take over. */
  #goOn(exchange: Exchange, link: Link): void {
    const { transfer } = exchange.answer;
    if (exchange.ended || transfer?.isBegun !== true) return;
    if (isSameProcess(exchange.link, link)) {
      // It knows where it was and sends on by itself.
      exchange.link = link;
      exchange.markAnswering();
    } else if (transfer.resumption !== undefined && link.hello.capabilities.has('offset')) {
      this.#resume(exchange, link);
    } else exchange.fail(lost());
  }

  /** Tells the connector that a body of this exchange has begun to arrive, where it wants to know. */
  sayReceiving(exchange: Exchange): void {
    const link = this.#registry.findLinkOf(exchange.mac);
    if (link?.hello.capabilities.has('receiving')) link.send({ event: 'receiving', request_id: exchange.id });
  }

  #send(exchange: Exchange, link: Link): boolean {
    try {
      const command = exchange.options.command(link);
      if (command instanceof Promise) {
        exchange.markSent(link);
        command.then(
          (made) => {
            // A link that went down meanwhile has put the exchange to waiting for the next one.
            if (!exchange.ended && exchange.link === link) link.send(complete(made, exchange, link));
          },
          (error: unknown) => {
            if (exchange.link === link) exchange.fail(RelayError.from(error));
          },
        );
      } else {
        if (!link.send(complete(command, exchange, link))) return false;
        exchange.markSent(link);
      }
    } catch (error) {
      exchange.fail(RelayError.from(error));
    }
    this.#options.logger.debug({ request_id: exchange.id, mac: exchange.mac, command: exchange.name }, 'command sent');
    return true;
  }

  /**
   * Nothing comes any more, though a body may still look as if it did: its connection may be dead, or its sender gone. The
   * connector is asked for the rest, on whatever link it has by now, or awaited.
   */
  #askAgain(exchange: Exchange): boolean {
    const { transfer } = exchange.answer;
    if (transfer?.resumption === undefined || this.#askedAgain.get(exchange) === transfer.nextOffset) return false;
    const link = this.#registry.findLink(exchange.mac);
    if (link !== undefined && !link.hello.capabilities.has('offset')) return false;
    this.#askedAgain.set(exchange, transfer.nextOffset);
    transfer.abort(new RelayError('transfer_interrupted', 'nothing came for too long; the connector is asked again'));
    if (link === undefined) this.orphan(exchange);
    else this.#resume(exchange, link);
    return true;
  }

  #resume(exchange: Exchange, link: Link): void {
    const offset = exchange.answer.transfer?.nextOffset;
    this.#options.logger.info(
      { request_id: exchange.id, mac: exchange.mac, offset },
      'the connector is asked to go on',
    );
    this.#send(exchange, link);
  }

  #wait(exchange: Exchange): void {
    const seen = this.#registry.awaitedSince(exchange.mac);
    const { reconnectWaitMs } = this.#options;
    // Never longer than that, also where the clock was set back since.
    const left = seen === undefined ? 0 : Math.min(reconnectWaitMs, seen + reconnectWaitMs - Date.now());
    if (this.#draining !== undefined) exchange.fail(this.#draining);
    else if (left <= 0) exchange.fail(this.#offline(exchange.mac));
    else exchange.setDeadline(left, () => this.#offline(exchange.mac));
  }

  #offline(mac: Mac): RelayError {
    const seen = this.#registry.lastSeen(mac);
    if (seen === undefined) {
      return new RelayError('connector_offline', `no connector with the MAC address ${mac} was ever connected here`, {
        details: { last_seen: null, retryable: false },
      });
    }
    const lastSeen = new Date(seen).toISOString();
    return new RelayError(
      'connector_offline',
      `the connector ${mac} is not connected; it was last seen at ${lastSeen}`,
      {
        details: { last_seen: lastSeen, retry_after: 30 },
      },
    );
  }

  #forget(exchange: Exchange): void {
    this.#live.delete(exchange.id);
    const sameMac = this.#byMac.get(exchange.mac);
    sameMac?.delete(exchange);
    if (sameMac?.size === 0) this.#byMac.delete(exchange.mac);
    const { mac, posts, error, askedBy } = exchange;
    this.#ended.set(exchange.id, { mac, posts, error, askedBy, isExpected: exchange.state === 'failed' });
    if (exchange.state === 'failed' && exchange.link !== undefined && !exchange.failedByConnector) {
      // By the link that there is now: the one that the command left by may be gone while its work goes on.
      const link = this.#registry.findLinkOf(exchange.mac);
      if (link?.hello.capabilities.has('cancel')) link.send({ command: 'cancel', request_id: exchange.id });
    }
    this.#options.onEnd?.();
  }
}

/** The command with what all of them have: the trace that it belongs to, and whether its result may come over the link. */
function complete(command: Command, { options: { traceparent } }: Exchange, { kind, hello }: Link): Command {
  const isInline = kind === 'websocket' && hello.capabilities.has('inline');
  return {
    ...command,
    ...(traceparent !== undefined && { traceparent }),
    ...(isInline && { inline_max: MAX_FRAME_BYTES }),
  };
}

/** Whether two links are of one process, which says so; without that nobody knows, and it counts as another. */
const isSameProcess = (earlier: Link | undefined, later: Link): boolean =>
  earlier === later || (later.hello.instance !== null && earlier?.hello.instance === later.hello.instance);

/** Whether another process may do from the start what one had begun: it sent nothing that has to be gone on with. */
const canTakeOver = ({ options, answer, arriving, hasResult }: Exchange): boolean =>
  options.resend === 'always' && answer.transfer === undefined && arriving === 0 && !hasResult;

/** Whether two links are of two processes, both of which say so. */
const isOtherProcess = (earlier: Link | undefined, later: Link): boolean =>
  earlier?.hello.instance != null && later.hello.instance !== null && earlier.hello.instance !== later.hello.instance;

const brokeOff = ({ mac }: Exchange): RelayError =>
  new RelayError('connector_failed', `the connector ${mac} broke off and did not come back in time`);

const lost = (): RelayError =>
  new RelayError('connector_failed', 'the connector reconnected, and the request was lost with its old link');
