import type { Logger } from '../../observability/logger.ts';
import type { Transport } from '../options.ts';
import { type Link, LinkError, type LinkOptions, type OpenLink } from './link.ts';

interface TransportOptions {
  readonly transport: Transport;
  readonly openWebSocket: OpenLink;
  readonly openEventStream: OpenLink;
  readonly logger: Logger;
}

/** A link, and whether it is only the second choice. */
export interface OpenedLink {
  readonly link: Link;
  /** WebSocket does not get through at the moment. */
  readonly isFallback: boolean;
}

/** Opens links by the kind that was asked for, or, with `auto`, by the one that gets through. */
export class TransportChooser {
  readonly #options: TransportOptions;
  /** After a fall back: the next links are SSE at once, until WebSocket is tried again. */
  #avoidsWebSocket = false;

  constructor(options: TransportOptions) {
    this.#options = options;
  }

  /** Opens a link. @throws {LinkError} when none comes up. */
  async open(options: LinkOptions, signal: AbortSignal): Promise<OpenedLink> {
    const { transport, openWebSocket, openEventStream, logger } = this.#options;
    if (transport === 'sse') return { link: await openEventStream(options, signal), isFallback: false };
    if (transport === 'websocket') return { link: await openWebSocket(options, signal), isFallback: false };
    if (this.#avoidsWebSocket) {
      try {
        return { link: await openEventStream(options, signal), isFallback: true };
      } catch (error) {
        // Whatever it was that stood in between may be gone, or it is SSE that does not pass now: ask both again.
        this.#avoidsWebSocket = false;
        throw error;
      }
    }
    try {
      return { link: await openWebSocket(options, signal), isFallback: false };
    } catch (error) {
      // Where nobody can be reached at all, WebSocket is not to blame.
      if (!(error instanceof LinkError) || error.failure === 'unreachable') throw error;
      // The router's own word about itself, not about WebSockets.
      if (error.code === 'draining' || error.code === 'upgrade_required') throw error;
      logger.debug({ reason: error.message }, 'no WebSocket; trying Server-Sent Events');
      const link = await this.#fallBack(options, signal, error);
      logger.warn({ reason: error.message }, 'WebSocket does not get through; using Server-Sent Events');
      this.#avoidsWebSocket = true;
      return { link, isFallback: true };
    }
  }

  /** Tries WebSocket while a fallback link is up. @returns the new link, or undefined when it still does not get through. */
  async improve(options: LinkOptions, signal: AbortSignal): Promise<Link | undefined> {
    try {
      const link = await this.#options.openWebSocket(options, signal);
      this.#avoidsWebSocket = false;
      return link;
    } catch (error) {
      if (!(error instanceof LinkError)) throw error;
      this.#options.logger.debug({ reason: error.message }, 'WebSocket still does not get through');
      return undefined;
    }
  }

  /** @throws {LinkError} that tells what befell both, with the router's own words first. */
  async #fallBack(options: LinkOptions, signal: AbortSignal, first: LinkError): Promise<Link> {
    try {
      return await this.#options.openEventStream(options, signal);
    } catch (error) {
      if (!(error instanceof LinkError) || error.failure === 'unreachable' || error.message === first.message)
        throw error;
      const decisive = error.code === undefined && first.code !== undefined ? first : error;
      throw new LinkError(decisive.failure, `WebSocket: ${first.message}; Server-Sent Events: ${error.message}`, {
        status: decisive.status,
        code: decisive.code,
        cause: error,
      });
    }
  }
}
