import { Duplex } from 'node:stream';
import { type Dispatcher, fetch as undiciFetch } from 'undici';
import { createDecoder } from '../../http/coder.ts';
import { CODINGS } from '../../http/content-coding.ts';
import type { Fetch } from '../../index.ts';

/** How many bytes may wait to be read before the sender is asked to wait. */
const HIGH_WATER_MARK_BYTES = 512 * 1024;

/** Responses that have no body, whatever they say (Fetch §2.2.3). */
const WITHOUT_BODY: ReadonlySet<number> = new Set([204, 205, 304]);

/**
 * `fetch` over the connections of a dispatcher. What follows no redirect, as everything that is asked of a router, goes
 * without the copy that undici's own makes of every byte, which costs as much as hashing it does.
 */
export function createFetch(dispatcher: Dispatcher): Fetch {
  const full = undiciFetch as unknown as Fetch;
  return (input, init) => {
    const isPlain = init?.redirect === 'manual' && (init.body === undefined || typeof init.body === 'string');
    if (isPlain && !(input instanceof Request)) return request(dispatcher, new URL(input), init);
    // undici's types and the platform's differ in name only.
    return full(input, { ...init, dispatcher } as RequestInit);
  };
}

async function request(dispatcher: Dispatcher, url: URL, init: RequestInit): Promise<Response> {
  const { method = 'GET', headers, body, signal } = init;
  signal?.throwIfAborted();
  const { promise, resolve, reject } = Promise.withResolvers<Response>();
  const receiver = new Receiver(method, signal ?? undefined, resolve, reject);
  dispatcher.dispatch(
    {
      origin: url.origin,
      path: url.pathname + url.search,
      method,
      headers: Object.fromEntries(new Headers(headers)),
      body: (body as string | null | undefined) ?? null,
    },
    receiver,
  );
  return promise;
}

/** Makes a response of what a dispatcher tells, and its body of the very bytes that come. */
class Receiver implements Dispatcher.DispatchHandler {
  readonly #method: string;
  readonly #signal: AbortSignal | undefined;
  readonly #resolve: (response: Response) => void;
  readonly #reject: (error: unknown) => void;
  readonly #onAbort: () => void;
  #controller: Dispatcher.DispatchController | undefined;
  #body: ReadableStreamDefaultController<Uint8Array> | undefined;
  #isOver = false;

  constructor(
    method: string,
    signal: AbortSignal | undefined,
    resolve: (response: Response) => void,
    reject: (error: unknown) => void,
  ) {
    this.#method = method;
    this.#signal = signal;
    this.#resolve = resolve;
    this.#reject = reject;
    this.#onAbort = () => this.#abort(signal?.reason);
    signal?.addEventListener('abort', this.#onAbort, { once: true });
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    if (this.#signal?.aborted === true) this.#onAbort();
  }

  onResponseStart(
    controller: Dispatcher.DispatchController,
    status: number,
    headers: Record<string, string | string[] | undefined>,
    statusText = '',
  ): void {
    // What is only a sign that the response will come.
    if (status < 200) return;
    const fields = new Headers();
    for (const [name, value] of Object.entries(headers)) {
      for (const each of Array.isArray(value) ? value : [value ?? '']) fields.append(name, each);
    }
    const hasBody = this.#method !== 'HEAD' && !WITHOUT_BODY.has(status);
    const body = hasBody ? decode(this.#open(controller), fields) : null;
    this.#resolve(new Response(body, { status, statusText, headers: fields }));
  }

  onResponseData(controller: Dispatcher.DispatchController, bytes: Uint8Array): void {
    if (this.#isOver || this.#body === undefined || bytes.length === 0) return;
    this.#body.enqueue(bytes);
    if ((this.#body.desiredSize ?? 0) <= 0) controller.pause();
  }

  onResponseEnd(): void {
    this.#settle(() => this.#body?.close());
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    const cause =
      this.#signal?.aborted === true
        ? (this.#signal.reason as unknown)
        : new TypeError('fetch failed', { cause: error });
    this.#settle(() => this.#body?.error(cause));
    this.#reject(cause);
  }

  #open(controller: Dispatcher.DispatchController): ReadableStream<Uint8Array> {
    return new ReadableStream<Uint8Array>(
      {
        start: (body) => {
          this.#body = body;
        },
        pull: () => controller.resume(),
        cancel: (reason: unknown) => this.#abort(reason),
      },
      { highWaterMark: HIGH_WATER_MARK_BYTES, size: ({ length }) => length },
    );
  }

  #abort(reason: unknown): void {
    const error =
      reason instanceof Error ? reason : new Error('the response is not wanted any more', { cause: reason });
    this.#settle(() => this.#body?.error(reason));
    this.#reject(reason);
    this.#controller?.abort(error);
  }

  #settle(finish: () => void): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#signal?.removeEventListener('abort', this.#onAbort);
    finish();
  }
}

/** The content of a coded body. */
function decode(body: ReadableStream<Uint8Array>, headers: Headers): ReadableStream<Uint8Array> {
  const coding = CODINGS.find((each) => each === headers.get('Content-Encoding')?.trim().toLowerCase());
  if (coding === undefined) return body;
  // The types of Node.js and of the platform differ where neither is used.
  const decoder = Duplex.toWeb(createDecoder(coding)) as unknown as ReadableWritablePair<Uint8Array, Uint8Array>;
  return body.pipeThrough(decoder);
}
