import type { ErrorCode } from '../../protocol/errors.ts';
import type { Agents } from '../http/agents.ts';
import type { RouterClient } from '../router-client.ts';

export type LinkKind = 'websocket' | 'sse';

/** Why a link ended. `code` is one of the router's close codes, where it gave one. */
export interface LinkEnd {
  readonly code?: number | undefined;
  readonly reason: string;
}

/** The persistent connection to the router, which is known to be there: it has shown a sign of life. */
export interface Link {
  readonly kind: LinkKind;
  /** Resolves once the link is gone and its socket and timers with it; never rejects. */
  readonly closed: Promise<LinkEnd>;
  /** The shortest time that a byte to the router and its answer took, in ms; undefined until it was measured. */
  readonly roundTripMs?: number | undefined;
  /** Measures how long that takes now, in ms, one at a time. Never resolves, or rejects, where no answer comes. */
  measureRoundTrip(): Promise<number>;
  /** Sends a result in place of a POST. @returns whether it is on its way: false where the link is going, or has much to carry. */
  sendResult?(message: string | Buffer): boolean;
  /** Tells the router that this connector takes no more commands. Never rejects. */
  sendDraining(): Promise<void>;
  /** Ends the link in good order, within two seconds. */
  close(reason: string): void;
  /** Ends the link at once. */
  terminate(): void;
}

/** What opening a link needs. */
export interface LinkOptions {
  /** The router's base URL. */
  readonly routerUrl: URL;
  /** Path of the connector below it, `connectors/{mac}`. */
  readonly path: string;
  /** What the connector says of itself, and its token as it is now. */
  readonly headers: () => Readonly<Record<string, string>>;
  readonly connectTimeoutMs: number;
  readonly heartbeatIntervalMs: number;
  readonly heartbeatTimeoutMs: number;
  readonly agents: Agents;
  readonly router: RouterClient;
  /** Called with each message, in order, also before the link counts as up. */
  readonly onMessage: (text: string) => void;
}

/** How often the way is measured at the beginning, where it seems to be a long one. */
export const LOOKS = 5;

/** Opens one link, once. @throws {LinkError} when it does not come up; the signal's reason when it aborts. */
export type OpenLink = (options: LinkOptions, signal: AbortSignal) => Promise<Link>;

/**
 * - `unreachable`: nobody there: no address, no connection, no TLS.
 * - `transport`: somebody is there, but this kind of link does not get through.
 */
export type LinkFailure = 'unreachable' | 'transport';

/** A link that did not come up, in words for the log. */
export class LinkError extends Error {
  override readonly name = 'LinkError';
  readonly failure: LinkFailure;
  /** The HTTP status of the answer, where there was one. */
  readonly status: number | undefined;
  /** The router's own code, where it gave one. */
  readonly code: ErrorCode | undefined;

  constructor(
    failure: LinkFailure,
    message: string,
    options: ErrorOptions & { status?: number | undefined; code?: ErrorCode | undefined } = {},
  ) {
    super(message, options);
    this.failure = failure;
    this.status = options.status;
    this.code = options.code;
  }
}
