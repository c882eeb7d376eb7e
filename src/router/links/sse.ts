import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { type Command, encodeCommand, type Receiving } from '../../protocol/commands.ts';
import { HEADER } from '../../protocol/headers.ts';
import { type Hello, type Link, type LinkEnd, type LinkEvents, MAX_UNSENT_BYTES, toLinkEnd } from './link.ts';

interface SseLinksOptions extends LinkEvents {
  readonly heartbeatIntervalMs: number;
  readonly heartbeatTimeoutMs: number;
}

/** Accepts connectors over Server-Sent Events (HTML Living Standard §9.2). */
export class SseLinks {
  readonly #options: SseLinksOptions;

  constructor(options: SseLinksOptions) {
    this.#options = options;
  }

  accept(request: IncomingMessage, response: ServerResponse, hello: Hello, opened: (link: SseLink) => void): void {
    opened(new SseLink(request, response, hello, this.#options));
  }
}

/** One connector over SSE. What it hears from the connector are heartbeat POSTs, where it said `heartbeat`. */
export class SseLink implements Link {
  readonly kind = 'sse';
  readonly id = randomUUID();
  readonly hello: Hello;
  readonly #response: ServerResponse;
  readonly #options: SseLinksOptions;
  readonly #keepAlive: NodeJS.Timeout;
  readonly #deadline: NodeJS.Timeout | undefined;
  #end: { readonly end: LinkEnd; readonly reason: string } | undefined;
  #eventId = 0;

  constructor(request: IncomingMessage, response: ServerResponse, hello: Hello, options: SseLinksOptions) {
    this.hello = hello;
    this.#response = response;
    this.#options = options;
    response.writeHead(200, {
      'Content-Type': 'text/event-stream',
      // no-transform keeps compressing proxies from collecting events; the X- header is nginx's own switch.
      'Cache-Control': 'no-cache, no-store, no-transform',
      'X-Accel-Buffering': 'no',
      [HEADER.linkId]: this.id,
    });
    response.write(': connected\n\n');
    this.#keepAlive = setInterval(() => response.write(': keep-alive\n\n'), options.heartbeatIntervalMs);
    if (hello.capabilities.has('heartbeat')) {
      this.#deadline = setTimeout(() => {
        this.#end ??= { end: 'silent', reason: `no heartbeat for ${options.heartbeatTimeoutMs} ms` };
        this.terminate();
      }, options.heartbeatTimeoutMs);
    }
    request.socket.setNoDelay(true);
    request.resume();
    response.on('error', () => {});
    response.on('close', () => {
      clearInterval(this.#keepAlive);
      clearTimeout(this.#deadline);
      const { end, reason } = this.#end ?? { end: 'lost', reason: 'closed by the connector' };
      options.closed(this, end, reason);
    });
  }

  /** Takes a heartbeat of the connector's. */
  heartbeat(draining: boolean): void {
    this.#deadline?.refresh();
    this.#options.alive(this);
    if (draining) this.#options.draining(this);
  }

  send(message: Command | Receiving): boolean {
    if (this.#response.destroyed || this.#response.writableEnded) return false;
    if (this.#response.writableLength > MAX_UNSENT_BYTES) {
      this.#end ??= { end: 'stalled', reason: 'the connector does not read its commands' };
      this.#options.refused(this, 'link_unread');
      this.terminate();
      return false;
    }
    this.#response.write(`id: ${++this.#eventId}\ndata: ${encodeCommand(message)}\n\n`);
    return true;
  }

  close(code: number, reason: string): void {
    this.#end ??= { end: toLinkEnd(code), reason };
    this.#response.end(`event: close\ndata: ${JSON.stringify({ code, reason })}\n\n`);
    // A peer that does not read the end must not hold the socket.
    setTimeout(() => this.#response.destroy(), 2000).unref();
  }

  terminate(): void {
    this.#response.destroy();
  }
}
