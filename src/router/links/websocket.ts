import { randomUUID } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { WebSocket, WebSocketServer } from 'ws';
import { type Command, decodeIncoming, encodeCommand, type Receiving } from '../../protocol/commands.ts';
import { HEADER } from '../../protocol/headers.ts';
import { decodeInlineBytes, decodeInlineResult } from '../../protocol/inline.ts';
import { MAX_FRAME_BYTES } from '../../protocol/limits.ts';
import { SUBPROTOCOL } from '../../protocol/version.ts';
import { FloodGate } from './flood-gate.ts';
import { type Hello, type Link, type LinkEnd, type LinkEvents, MAX_UNSENT_BYTES, toLinkEnd } from './link.ts';

const CLOSE_GRACE_MS = 2000;

/** What a message may be broken into, by its sender and by the network: each piece costs memory beyond its bytes. */
const MAX_FRAGMENTS = 128;
const MAX_BUFFERED_CHUNKS = 4096;

interface WebSocketLinksOptions extends LinkEvents {
  readonly heartbeatIntervalMs: number;
  readonly heartbeatTimeoutMs: number;
}

/** Accepts connectors over WebSocket (RFC 6455), pings them, and ends links on which nothing is heard. */
export class WebSocketLinks {
  readonly #server: WebSocketServer;
  readonly #options: WebSocketLinksOptions;

  constructor(options: WebSocketLinksOptions) {
    this.#options = options;
    this.#server = new WebSocketServer({
      noServer: true,
      maxPayload: MAX_FRAME_BYTES,
      maxFragments: MAX_FRAGMENTS,
      maxBufferedChunks: MAX_BUFFERED_CHUNKS,
      perMessageDeflate: false,
      // Answered below, where a peer that only pings and never reads is noticed.
      autoPong: false,
      handleProtocols: (offered) => (offered.has(SUBPROTOCOL) ? SUBPROTOCOL : false),
    });
    this.#server.on('headers', (headers, request: IncomingMessage & { relayLinkId?: string }) => {
      if (request.relayLinkId !== undefined) headers.push(`${HEADER.linkId}: ${request.relayLinkId}`);
    });
  }

  /** Completes an upgrade of a peer that speaks this version of the protocol. */
  accept(
    request: IncomingMessage & { relayLinkId?: string },
    socket: Duplex,
    head: Buffer,
    hello: Hello,
    opened: (link: Link) => void,
  ): void {
    request.relayLinkId = randomUUID();
    const id = request.relayLinkId;
    this.#server.handleUpgrade(request, socket, head, (peer) =>
      opened(new WebSocketLink(id, peer, hello, this.#options)),
    );
  }

  close(): void {
    this.#server.close();
  }
}

class WebSocketLink implements Link {
  readonly kind = 'websocket';
  readonly id: string;
  readonly hello: Hello;
  readonly #peer: WebSocket;
  readonly #heartbeat: NodeJS.Timeout;
  readonly #deadline: NodeJS.Timeout;
  readonly #options: WebSocketLinksOptions;
  #end: { readonly end: LinkEnd; readonly reason: string } | undefined;

  constructor(id: string, peer: WebSocket, hello: Hello, options: WebSocketLinksOptions) {
    this.id = id;
    this.hello = hello;
    this.#peer = peer;
    this.#options = options;
    this.#heartbeat = setInterval(() => peer.ping(), options.heartbeatIntervalMs);
    this.#deadline = setTimeout(() => {
      this.#end ??= { end: 'silent', reason: `nothing heard for ${options.heartbeatTimeoutMs} ms` };
      peer.terminate();
    }, options.heartbeatTimeoutMs);
    const gate = new FloodGate();
    const touch = (): void => {
      this.#deadline.refresh();
      options.alive(this);
    };
    const alive = (): boolean => {
      if (!gate.pass()) {
        this.#refuse('link_flood', 'the connector floods its link');
        return false;
      }
      touch();
      return true;
    };
    peer.on('pong', alive);
    peer.on('ping', (data) => {
      if (alive() && peer.readyState === WebSocket.OPEN && this.#checkUnsent()) peer.pong(data);
    });
    peer.on('message', (data, isBinary) => {
      if (this.#end !== undefined) return;
      const text = isBinary ? undefined : (data as Buffer).toString('utf8');
      const result = text === undefined ? decodeInlineBytes(data as Buffer) : decodeInlineResult(text);
      // What was asked for is no flood: there is one for each command.
      if (options.answered(this, result)) touch();
      else if (alive() && text !== undefined) this.#takeEvent(text);
    });
    peer.on('error', (error) => {
      this.#end ??= { end: 'lost', reason: error.message };
    });
    peer.on('close', (code, reason) => {
      clearInterval(this.#heartbeat);
      clearTimeout(this.#deadline);
      const words = `closed by the connector (${code}${reason.length > 0 ? ` ${reason.toString()}` : ''})`;
      const { end, reason: why } = this.#end ?? { end: code === 1006 ? 'lost' : 'closed', reason: words };
      options.closed(this, end, why);
    });
  }

  #takeEvent(text: string): void {
    const incoming = decodeIncoming(text);
    if (incoming.ok && incoming.value.kind === 'event' && incoming.value.event === 'draining')
      this.#options.draining(this);
  }

  send(message: Command | Receiving): boolean {
    if (this.#peer.readyState !== WebSocket.OPEN) return false;
    if (!this.#checkUnsent()) return false;
    this.#peer.send(encodeCommand(message));
    return true;
  }

  #checkUnsent(): boolean {
    if (this.#peer.bufferedAmount <= MAX_UNSENT_BYTES) return true;
    this.#refuse('link_unread', 'the connector does not read its commands');
    return false;
  }

  #refuse(reason: 'link_flood' | 'link_unread', why: string): void {
    if (this.#end !== undefined) return;
    this.#end = { end: 'stalled', reason: why };
    this.#options.refused(this, reason);
    this.#peer.terminate();
  }

  close(code: number, reason: string): void {
    this.#end ??= { end: toLinkEnd(code), reason };
    this.#peer.close(code, reason);
    setTimeout(() => this.#peer.terminate(), CLOSE_GRACE_MS).unref();
  }

  terminate(): void {
    this.#peer.terminate();
  }
}
