import type { Socket } from 'node:net';
import { networkOf } from '../../http/address-range.ts';
import { RelayError } from '../../protocol/errors.ts';
import type { Refusals } from './refusals.ts';
import type { LimitSettings } from './settings.ts';

/** How many connections beyond the limits are told so at a time, and how long each has for that, in ms. The rest are reset. */
const MAX_TOLD = 100;
const TELLING_MS = 5000;
const RETRY_AFTER_S = 10;

/**
 * Counts connections, all and by address. One beyond a limit stays for a moment, in which whatever it asks is refused in
 * words; when many do, the others are reset before they cost anything.
 */
export class ConnectionLimits {
  readonly #settings: LimitSettings;
  readonly #refusals: Refusals;
  readonly #isTrustedProxy: (address: string) => boolean;
  readonly #byNetwork = new Map<string, number>();
  readonly #beyond = new WeakMap<Socket, RelayError>();
  #open = 0;
  #told = 0;

  constructor(settings: LimitSettings, refusals: Refusals, isTrustedProxy: (address: string) => boolean) {
    this.#settings = settings;
    this.#refusals = refusals;
    this.#isTrustedProxy = isTrustedProxy;
  }

  /** How many connections are open, those beyond the limits aside. */
  get open(): number {
    return this.#open;
  }

  /** Takes a connection that was accepted, before anything is read from it. */
  add(socket: Socket): void {
    const address = socket.remoteAddress ?? '';
    const network = networkOf(address);
    const own = this.#byNetwork.get(network) ?? 0;
    const refusal = this.#findRefusal(own, address);
    if (refusal !== undefined) {
      this.#tell(socket, refusal);
      return;
    }
    this.#open++;
    this.#byNetwork.set(network, own + 1);
    socket.once('close', () => {
      this.#open--;
      const left = (this.#byNetwork.get(network) as number) - 1;
      if (left === 0) this.#byNetwork.delete(network);
      else this.#byNetwork.set(network, left);
    });
  }

  /**
   * Checks the connection that a request came on.
   * @param socket the TCP socket, also where TLS is spoken over it.
   * @throws {RelayError} too_many_requests, overloaded when it is beyond a limit. It has to be closed after the answer.
   */
  check(socket: Socket): void {
    const refusal = this.#beyond.get(socket);
    if (refusal !== undefined) throw refusal;
  }

  #findRefusal(own: number, address: string): RelayError | undefined {
    const { maxConnections, maxConnectionsPerAddress } = this.#settings;
    const details = { retry_after: RETRY_AFTER_S };
    if (own >= maxConnectionsPerAddress && !this.#isTrustedProxy(address)) {
      this.#refusals.note('connections_per_address', { remote: address });
      return new RelayError('too_many_requests', `${own} connections from this address are open already`, { details });
    }
    if (this.#open >= maxConnections) {
      this.#refusals.note('connections', { remote: address });
      return new RelayError('overloaded', 'the router has as many connections as it may', { details });
    }
    return undefined;
  }

  #tell(socket: Socket, refusal: RelayError): void {
    if (this.#told >= MAX_TOLD) {
      socket.resetAndDestroy();
      return;
    }
    this.#told++;
    this.#beyond.set(socket, refusal);
    const timer = setTimeout(() => socket.destroy(), TELLING_MS);
    socket.once('close', () => {
      clearTimeout(timer);
      this.#told--;
    });
  }
}
