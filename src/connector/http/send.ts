import type { ClientRequest, IncomingHttpHeaders, IncomingMessage } from 'node:http';
import { readBody } from '../../http/body.ts';
import type { Flow } from '../../http/pace.ts';
import { toProxyRefusal } from '../../http/proxy/proxy-error.ts';
import { RelayError } from '../../protocol/errors.ts';
import { MAX_CONTROL_BODY_BYTES } from '../../protocol/limits.ts';
import type { Agents } from './agents.ts';
import { onceConnected } from './once-connected.ts';
import { watchProgress } from './watch-progress.ts';

/** Takes a piece of a body; when it resolves, the piece's memory is free again. Rejects once nobody wants more. */
export type Write = (piece: Buffer) => Promise<void>;

/** A body that is written piece by piece. It may be called again, when a kept connection turns out to be closed. */
export type BodyWriter = (write: Write) => Promise<void>;

/** One HTTP request. */
export interface Sending {
  readonly method: 'POST' | 'PUT';
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | BodyWriter;
  readonly signal: AbortSignal;
  /** After how long without progress, in ms, `isStalled` is asked. */
  readonly silenceMs: number;
  /** Whether the silence means that nobody is there. By default it does. */
  readonly isStalled?: () => boolean;
  /** Called when there is a connection, and so the first bytes leave; again for each attempt. */
  readonly onConnected?: (() => void) | undefined;
  /** Called with what the body's writer threw, before the request is cut. */
  readonly beforeCut?: (error: unknown) => Promise<void>;
}

/** What came back. */
export interface Reply {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

const MAX_ATTEMPTS = 3;

/** Thrown at a body's writer when the answer is there before the body is. */
const ANSWERED = Symbol('answered');

/**
 * Makes one HTTP request and reads the answer, which may come, and end the request, while the body is still being written.
 * A kept connection that the other side had closed is replaced by a new one.
 * @throws {RelayError} transfer_interrupted when the connection breaks or stalls; unauthorized, forbidden, router_unreachable
 * when a proxy refuses or is not there; what the body's writer threw; the signal's reason when it aborts.
 */
export async function send(agents: Agents, sending: Sending): Promise<Reply> {
  for (let attempt = 1; ; attempt++) {
    const exchange = new Exchange(agents, sending, attempt < MAX_ATTEMPTS);
    try {
      return await exchange.run();
    } catch (error) {
      if (attempt >= MAX_ATTEMPTS || !exchange.wasStale || sending.signal.aborted) throw error;
    }
  }
}

class Exchange {
  readonly #request: ClientRequest;
  readonly #sending: Sending;
  readonly #proxy: URL | undefined;
  /** Among all that is sent at the pace that was set, if any. */
  readonly #flow: Flow | undefined;
  readonly #response: Promise<IncomingMessage>;
  #answer: IncomingMessage | undefined;
  #broken: Error | undefined;
  /** Ends the wait of the piece that is being written. */
  #interrupt: ((reason: unknown) => void) | undefined;

  constructor(agents: Agents, sending: Sending, pooled: boolean) {
    const { url, method, headers } = sending;
    this.#sending = sending;
    this.#proxy = agents.chooseProxy(url);
    this.#flow = agents.pace?.open();
    this.#request = agents.request(url, { method, headers }, pooled ? 'pooled' : 'fresh');
    const { onConnected } = sending;
    if (onConnected !== undefined) this.#request.once('socket', (socket) => onceConnected(socket, onConnected));
    this.#response = new Promise((resolve, reject) => {
      const fail = (error: Error): void => {
        this.#broken ??= error;
        this.#interrupt?.(error);
        reject(error);
      };
      this.#request.once('response', (response) => {
        this.#answer = response;
        response.on('error', () => {});
        this.#interrupt?.(ANSWERED);
        resolve(response);
      });
      this.#request.on('error', fail);
      this.#request.once('close', () => fail(new Error('the connection was closed')));
    });
    this.#response.catch(() => {});
  }

  /** Whether the connection broke, and had been kept from an earlier request: this one then never got through. */
  get wasStale(): boolean {
    return this.#request.reusedSocket && this.#answer === undefined && isConnectionLoss(this.#broken);
  }

  async run(): Promise<Reply> {
    const { signal, silenceMs, isStalled = () => true } = this.#sending;
    const abort = (): void => void this.#request.destroy(toError(signal.reason));
    const stopWatching = watchProgress(
      () => this.#countBytes(),
      silenceMs,
      () => {
        if (isStalled()) this.#request.destroy(new Error(`nothing moved for ${Math.round(silenceMs / 1000)} s`));
      },
    );
    signal.addEventListener('abort', abort, { once: true });
    if (signal.aborted) abort();
    try {
      await this.#writeBody();
      const response = await this.#response;
      if (this.#proxy !== undefined && response.statusCode === 407) {
        throw toProxyRefusal(this.#proxy, 407, this.#sending.url.host);
      }
      return {
        status: response.statusCode ?? 0,
        headers: response.headers,
        body: await readBody(response, MAX_CONTROL_BODY_BYTES),
      };
    } catch (error) {
      throw signal.aborted ? signal.reason : RelayError.from(error, 'transfer_interrupted');
    } finally {
      stopWatching();
      signal.removeEventListener('abort', abort);
      // What is left of a request that was answered early, or failed, must not go on.
      if (!this.#request.writableFinished || this.#answer?.complete !== true) this.#request.destroy();
    }
  }

  async #writeBody(): Promise<void> {
    const { body, beforeCut, signal } = this.#sending;
    if (typeof body === 'string') {
      this.#request.end(body);
      return;
    }
    try {
      await body((piece) => this.#writeAtPace(piece));
    } catch (error) {
      if (error === ANSWERED) return;
      if (error !== this.#broken && !signal.aborted) await beforeCut?.(error);
      throw error;
    }
    this.#request.end();
  }

  async #writeAtPace(piece: Buffer): Promise<void> {
    const flow = this.#flow;
    if (flow === undefined) return this.#write(piece);
    for (let start = 0; start < piece.length; start += flow.pieceBytes) {
      const part = piece.subarray(start, start + flow.pieceBytes);
      // Whatever ends the request ends the wait as well.
      await new Promise<void>((resolve, reject) => {
        this.#interrupt = reject;
        flow.take(part.length, this.#sending.signal).then(resolve, reject);
      });
      await this.#write(part);
    }
  }

  #write(piece: Buffer): Promise<void> {
    if (this.#answer !== undefined) return Promise.reject(ANSWERED);
    if (this.#broken !== undefined) return Promise.reject(this.#broken);
    return new Promise((resolve, reject) => {
      // A request that ends while a piece is waiting does not always call back.
      this.#interrupt = reject;
      this.#request.write(piece, (error) => {
        if (error) this.#broken ??= error;
        if (error) reject(this.#broken);
        else resolve();
      });
    });
  }

  #countBytes(): number {
    const { socket } = this.#request;
    return (socket?.bytesRead ?? 0) + (socket?.bytesWritten ?? 0) - (socket?.writableLength ?? 0);
  }
}

const isConnectionLoss = (error: NodeJS.ErrnoException | undefined): boolean =>
  error?.code === 'ECONNRESET' || error?.code === 'EPIPE' || error?.code === 'ECONNABORTED';

const toError = (reason: unknown): Error => (reason instanceof Error ? reason : new Error(String(reason)));
