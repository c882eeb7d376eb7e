import type { IncomingMessage } from 'node:http';
import { createParser } from 'eventsource-parser';
import * as z from 'zod';
import { decodeJson } from '../../protocol/codec.ts';
import { RelayError } from '../../protocol/errors.ts';
import { HEADER } from '../../protocol/headers.ts';
import { FAR_MS } from '../../http/width.ts';
import { MAX_FRAME_BYTES } from '../../protocol/limits.ts';
import { onceConnected } from '../http/once-connected.ts';
import { isGone, routerEndpoint } from '../router-client.ts';
import { toConnectError, toTimeout } from './connect-error.ts';
import { type Link, type LinkEnd, LinkError, type LinkOptions, LOOKS, type OpenLink } from './link.ts';
import { readRefusal } from './refusal.ts';

const EVENT_STREAM = 'text/event-stream';

const closeEvent = z.object({ code: z.number().int(), reason: z.string().default('') });

/**
 * Opens a stream of Server-Sent Events (HTML Living Standard §9.2). It counts as up when the first bytes of it came: a proxy
 * may hold back what is not yet complete.
 */
export const openEventStream: OpenLink = (options, signal) =>
  new Promise((resolve, reject) => {
    const url = routerEndpoint(options.routerUrl, `${options.path}/events`);
    let wasConnected = false;
    let connectedAt = 0;
    const headers = {
      ...options.headers(),
      Accept: EVENT_STREAM,
      'Accept-Encoding': 'identity',
      'Cache-Control': 'no-store',
    };
    const request = options.agents.request(url, { method: 'GET', headers }, 'fresh');
    const settle = (finish: () => void): void => {
      clearTimeout(deadline);
      signal.removeEventListener('abort', abort);
      finish();
    };
    const fail = (error: unknown): void =>
      settle(() => {
        request.destroy();
        if (request.closed) reject(error);
        else request.once('close', () => reject(error));
      });
    const abort = (): void => fail(signal.reason);
    const deadline = setTimeout(
      () => fail(toTimeout(url.host, options.connectTimeoutMs, wasConnected)),
      options.connectTimeoutMs,
    );
    signal.addEventListener('abort', abort, { once: true });
    if (signal.aborted) abort();

    request.once('socket', (socket) => {
      onceConnected(socket, () => {
        wasConnected = true;
        connectedAt = performance.now();
        socket.setKeepAlive(true, options.heartbeatIntervalMs);
      });
    });
    request.on('error', (error) => fail(toConnectError(error, url.host, wasConnected)));
    request.on('response', (response) => {
      const roundTripMs = performance.now() - connectedAt;
      const type = response.headers['content-type'] ?? '';
      if (response.statusCode !== 200) {
        void readRefusal(response, 'a stream of events', options.agents.chooseProxy(url)).then(fail);
      } else if (!type.toLowerCase().startsWith(EVENT_STREAM)) {
        fail(
          new LinkError(
            'transport',
            `expected a stream of events, and got ${type.slice(0, 64) || 'something else'}; is this a relay router?`,
          ),
        );
      } else {
        const link = new EventStreamLink(response, options, roundTripMs);
        void link.closed.then(({ reason }) =>
          fail(toConnectError(new Error(`closed at once (${reason})`), url.host, true)),
        );
        link.onceAlive(() => settle(() => resolve(link)));
      }
    });
    request.end();
  });

class EventStreamLink implements Link {
  readonly kind = 'sse';
  roundTripMs: number;
  readonly closed: Promise<LinkEnd>;
  readonly #response: IncomingMessage;
  readonly #options: LinkOptions;
  readonly #id: string | undefined;
  readonly #heartbeat: NodeJS.Timeout | undefined;
  readonly #deadline: NodeJS.Timeout;
  /** Ends the heartbeat that is on its way. */
  readonly #gone = new AbortController();
  #end: LinkEnd | undefined;
  #isAlive: (() => void) | undefined;

  constructor(response: IncomingMessage, options: LinkOptions, roundTripMs: number) {
    this.roundTripMs = roundTripMs;
    this.#response = response;
    this.#options = options;
    const id = response.headers[HEADER.linkId.toLowerCase()];
    this.#id = typeof id === 'string' ? id : undefined;
    this.#deadline = setTimeout(
      () => this.#finish({ reason: `nothing heard for ${options.heartbeatTimeoutMs / 1000} s` }),
      options.heartbeatTimeoutMs,
    );
    if (this.#id !== undefined)
      this.#heartbeat = setInterval(() => void this.#sendHeartbeat(), options.heartbeatIntervalMs);
    this.closed = new Promise((resolve) => {
      response.once('close', () => {
        clearInterval(this.#heartbeat);
        clearTimeout(this.#deadline);
        this.#gone.abort();
        resolve(this.#end ?? { reason: 'the connection was cut' });
      });
    });
    this.#read();
    // Without an id nobody answers.
    if (this.#id !== undefined) void this.#lookAgain().catch(() => {});
  }

  /** Calls back at the first sign of life. */
  onceAlive(callback: () => void): void {
    this.#isAlive = callback;
  }

  /** One may have waited for something else than the way. */
  async #lookAgain(): Promise<void> {
    for (let looks = 1; looks < LOOKS && this.roundTripMs >= FAR_MS; looks++)
      this.roundTripMs = Math.min(this.roundTripMs, await this.measureRoundTrip());
  }

  async measureRoundTrip(): Promise<number> {
    const begunAt = performance.now();
    // What nobody answered tells no time.
    if (!(await this.#sendHeartbeat())) throw new RelayError('transfer_interrupted', 'no heartbeat was answered');
    return performance.now() - begunAt;
  }

  async sendDraining(): Promise<void> {
    await this.#sendHeartbeat({ event: 'draining' });
  }

  close(reason: string): void {
    this.#finish({ reason });
  }

  terminate(): void {
    this.#finish({ reason: 'terminated' });
  }

  #read(): void {
    const decoder = new TextDecoder();
    const parser = createParser({
      maxBufferSize: 2 * MAX_FRAME_BYTES,
      onEvent: ({ event, data }) => {
        if (event === 'close') this.#finish(readClose(data));
        else if (event === undefined || event === 'message') this.#options.onMessage(data);
      },
      onError: (error) => {
        if (error.type === 'max-buffer-size-exceeded')
          this.#finish({ reason: 'the router sent an event beyond the limit' });
      },
    });
    this.#response.on('data', (bytes: Buffer) => {
      this.#deadline.refresh();
      this.#isAlive?.();
      this.#isAlive = undefined;
      if (this.#end === undefined) parser.feed(decoder.decode(bytes, { stream: true }));
    });
    this.#response.on('error', () => {});
  }

  /**
   * A heartbeat that fails is no reason to give up a stream that flows; one that the router does not know is.
   * @returns whether it was answered.
   */
  async #sendHeartbeat(body?: { event: 'draining' }): Promise<boolean> {
    if (this.#id === undefined) return false;
    try {
      await this.#options.router.postHeartbeat(this.#id, body, this.#gone.signal);
      return true;
    } catch (error) {
      if (isGone(error)) this.#finish({ reason: 'the router no longer knows this link' });
      return false;
    }
  }

  #finish(end: LinkEnd): void {
    this.#end ??= end;
    this.#response.destroy();
  }
}

function readClose(data: string): LinkEnd {
  const event = decodeJson(closeEvent, data);
  return event.ok ? event.value : { reason: 'the router closed the link' };
}
