import type { Capability } from '../../protocol/capabilities.ts';
import { CLOSE } from '../../protocol/close-codes.ts';
import type { Command, Receiving } from '../../protocol/commands.ts';
import type { Decoded } from '../../protocol/codec.ts';
import type { InlineResult } from '../../protocol/inline.ts';
import type { Mac } from '../../protocol/mac.ts';
import type { RefusalReason } from '../limits/refusals.ts';
import type { Grant } from '../access/grant.ts';

/** What a connector said of itself when it opened its link. */
export interface Hello {
  readonly mac: Mac;
  readonly capabilities: ReadonlySet<Capability>;
  readonly version: string | null;
  readonly name: string | null;
  readonly labels: Readonly<Record<string, string>>;
  /** Tells one process from another with the same MAC; null where it does not say. */
  readonly instance: string | null;
  /** Who it is on the network, for the logs. */
  readonly remote: string;
  /** The router's base URL as this connector knows it. */
  readonly baseUrl: string;
  /** What its token lets it do, and until when. */
  readonly grant: Grant;
}

/** The persistent connection of one connector. Commands leave in the order in which they were sent. */
export interface Link {
  readonly id: string;
  readonly kind: 'websocket' | 'sse';
  readonly hello: Hello;

  /** Writes a command or an event. @returns false when the link is already gone. A peer that does not read ends the link. */
  send(message: Command | Receiving): boolean;

  /** Ends the link and tells the peer why. */
  close(code: number, reason: string): void;

  /** Ends the link at once, without a word. */
  terminate(): void;
}

/**
 * Why a link ended: the router sent it away (`replaced`, `unauthorised`, `draining`), heard nothing (`silent`) or was not
 * read (`stalled`); its connector took leave (`closed`), or was gone without a word (`lost`), as on SSE it always is.
 */
export type LinkEnd = 'replaced' | 'unauthorised' | 'draining' | 'silent' | 'stalled' | 'closed' | 'lost';

/** Why a link ends that the router closes with this code. */
export function toLinkEnd(code: number): LinkEnd {
  if (code === CLOSE.replaced) return 'replaced';
  return code === CLOSE.notAuthorised ? 'unauthorised' : 'draining';
}

/** What a link tells its owner. */
export interface LinkEvents {
  /** The peer gave a sign of life. */
  alive(link: Link): void;
  /** A result came over the link, in place of a POST, or what may be one. @returns whether anybody had asked for it. */
  answered(link: Link, result: Decoded<InlineResult>): boolean;
  /** The peer takes no more commands. */
  draining(link: Link): void;
  /** The link is ended because its peer asks too much of the router. */
  refused(link: Link, reason: Extract<RefusalReason, 'link_flood' | 'link_unread'>): void;
  /** The link is gone, for whatever reason; called exactly once. */
  closed(link: Link, end: LinkEnd, reason: string): void;
}

/** Most bytes that may wait for a peer that does not read before its link is ended. */
export const MAX_UNSENT_BYTES = 4 * 1024 * 1024;
