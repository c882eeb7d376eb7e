import type { ZodType } from 'zod';
import { findClearReceiver } from '../http/loopback.ts';
import { isCertificateError } from '../http/connection-error.ts';
import { fromProblem } from '../http/problem.ts';
import { findProxyError } from '../http/proxy/proxy-error.ts';
import { decodeValue, unwrap } from '../protocol/codec.ts';
import { RelayError } from '../protocol/errors.ts';
import { HEADER } from '../protocol/headers.ts';
import { parseTraceparent } from '../protocol/trace-context.ts';
import { RoundTrip } from './round-trip.ts';

/** `fetch` as the platform has it, or one that behaves so. */
export type Fetch = typeof globalThis.fetch;

/** How a client reaches its router. */
export interface TransportOptions {
  /** The router's base URL, path prefix included. */
  readonly baseUrl: string | URL;
  /** Default: the platform's own. Node's ends a response that begins after five minutes; pass one without for longer waits. */
  readonly fetch?: Fetch | undefined;
  /** Bearer token, or what gives the one of now for each request. It goes to `baseUrl` only, and no redirect is followed. */
  readonly token?: string | (() => string) | undefined;
  /** Value of `User-Agent`, where the platform lets it be set. */
  readonly userAgent?: string | undefined;
  /** The trace that the requests are a part of (W3C Trace Context); what is no `traceparent` is not sent. */
  readonly traceparent?: string | undefined;
  /** Send the token over plain HTTP to other machines as well. Default false. */
  readonly allowHttp?: boolean | undefined;
  /** The content codings that `fetch` decodes, as `Accept-Encoding` names them. Default: gzip, which every one does. */
  readonly codings?: string | undefined;
  /** The HTTP proxy by which `fetch` reaches the router: to it, a router on loopback is another machine. Default none. */
  readonly proxy?: URL | undefined;
  /** How long the rest of a transfer that broke off may take to begin before it is asked for anew, in ms. Default 100,000. */
  readonly stallTimeoutMs?: number | undefined;
  /**
   * What is known of the time that a byte to the router and its answer take, in ms, such as the opening of a connection.
   * Default: what the quickest of its answers took.
   */
  readonly roundTripMs?: (() => number | undefined) | undefined;
}

/** One request to the router, with a path relative to its base URL. */
export interface Call {
  readonly method: 'GET' | 'HEAD' | 'POST' | 'DELETE';
  readonly path: string;
  /** A list is a parameter that is repeated. */
  readonly query?: Readonly<Record<string, string | number | readonly string[] | undefined>>;
  readonly headers?: Readonly<Record<string, string>>;
  /** Sent as JSON. */
  readonly json?: unknown;
  readonly signal?: AbortSignal | undefined;
}

/** Most of a foreign error page that is read, in bytes, and shown, in characters. */
const MAX_ERROR_BODY_BYTES = 256 * 1024;
const MAX_SNIPPET_LENGTH = 160;

/** By which a gateway says that it gave up waiting: 504 (RFC 9110 §15.6.5), and Cloudflare's own. */
const GATEWAY_TIMEOUTS: ReadonlySet<number> = new Set([504, 524]);

/** Makes requests to one router and turns whatever goes wrong into a RelayError. */
export class Transport {
  readonly baseUrl: URL;
  readonly fetch: Fetch;
  readonly stallTimeoutMs: number;
  readonly codings: string;
  readonly roundTrip: RoundTrip;
  readonly #headers: Readonly<Record<string, string>>;
  readonly #token: string | (() => string) | undefined;

  /** @throws {RelayError} usage when the base URL is none, or the token would travel in the clear. */
  constructor({
    baseUrl,
    fetch,
    token,
    userAgent,
    traceparent,
    allowHttp = false,
    codings = 'gzip',
    proxy,
    stallTimeoutMs = 100_000,
    roundTripMs,
  }: TransportOptions) {
    this.stallTimeoutMs = stallTimeoutMs;
    this.roundTrip = new RoundTrip(roundTripMs);
    this.codings = codings;
    const trace = parseTraceparent(traceparent);
    this.baseUrl = readBaseUrl(baseUrl);
    const receiver = findClearReceiver(this.baseUrl, proxy);
    if (token !== undefined && !allowHttp && receiver !== undefined) {
      throw new RelayError(
        'usage',
        `the token would travel unencrypted to ${receiver}: use https, or allow it in so many words (--allow-http)`,
      );
    }
    this.fetch = fetch ?? ((input, init) => globalThis.fetch(input, init));
    this.#token = token;
    this.#headers = {
      ...(userAgent !== undefined && { 'User-Agent': userAgent }),
      ...(trace !== undefined && { [HEADER.traceparent]: trace }),
    };
  }

  /**
   * Makes the call and resolves when a good response (2xx) has begun.
   * @throws {RelayError} what the router answered; router_unreachable when there was no answer, or none of a router's.
   * @throws the signal's reason when it fires.
   */
  async send(call: Call): Promise<Response> {
    const response = await this.exchange(call);
    if (response.ok) return response;
    throw await this.readError(response, call.signal);
  }

  /** Of a router that does not answer in time. */
  noAnswer(): RelayError {
    return new RelayError('router_unreachable', `no answer from the router at ${this.baseUrl} in time`);
  }

  /** Makes the call and resolves when any response has begun. */
  async exchange({ method, path, query = {}, headers = {}, json, signal }: Call): Promise<Response> {
    const url = new URL(path, this.baseUrl);
    for (const [key, value] of Object.entries(query)) {
      for (const each of [value ?? []].flat()) url.searchParams.append(key, `${each}`);
    }
    const { fetch } = this;
    const token = typeof this.#token === 'function' ? this.#token() : this.#token;
    const askedAt = performance.now();
    try {
      const response = await fetch(url, {
        method,
        redirect: 'manual',
        headers: {
          ...this.#headers,
          ...(token !== undefined && { Authorization: `Bearer ${token}` }),
          // But for whole datasets, nothing is worth it.
          'Accept-Encoding': 'identity',
          ...(json !== undefined && { 'Content-Type': 'application/json' }),
          ...headers,
        },
        ...(json !== undefined && { body: JSON.stringify(json) }),
        ...(signal && { signal }),
      });
      this.roundTrip.note(performance.now() - askedAt);
      return response;
    } catch (cause) {
      signal?.throwIfAborted();
      const refusal = findProxyError(cause);
      if (refusal !== undefined) throw refusal;
      throw new RelayError('router_unreachable', `no answer from the router at ${this.baseUrl}: ${describe(cause)}`, {
        cause,
        // Neither a certificate nor a port that `fetch` never connects to is put right by asking again.
        ...((isCertificateError(cause) || describe(cause) === 'bad port') && { details: { retryable: false } }),
      });
    }
  }

  /** A good response's JSON, checked against its schema, with fields that the schema does not know kept. */
  async readJson<T extends object>(response: Response, schema: ZodType<T>, signal?: AbortSignal): Promise<T> {
    const text = await readText(response, signal);
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch {
      throw this.#foreign(response, text);
    }
    try {
      return { ...(value as object), ...unwrap(decodeValue(schema, value)) };
    } catch (cause) {
      throw new RelayError(
        'router_unreachable',
        `the router at ${this.baseUrl} gave an unusable answer: ${describe(cause)}`,
        { cause, details: { retryable: false } },
      );
    }
  }

  /** The error that a response stands for. */
  async readError(response: Response, signal?: AbortSignal): Promise<RelayError> {
    const text = await readText(response, signal, MAX_ERROR_BODY_BYTES);
    let error: RelayError | undefined;
    try {
      error = fromProblem(JSON.parse(text));
    } catch {
      return this.#foreign(response, text);
    }
    if (error === undefined) return this.#foreign(response, text);
    const requestId = response.headers.get(HEADER.requestId);
    return error.with({
      ...(requestId !== null && { request_id: requestId }),
      ...readRetryAfter(response),
      ...error.details,
    });
  }

  /** A good response that a router did not make, since it lacks what every answer of one has. */
  async refuseForeign(response: Response, signal?: AbortSignal): Promise<RelayError> {
    return this.#foreign(response, await readText(response, signal, MAX_ERROR_BODY_BYTES));
  }

  #foreign(response: Response, text: string): RelayError {
    const { status } = response;
    const location = response.headers.get('Location');
    const what = `${this.baseUrl} answered ${status === 0 ? 'with a redirect' : `${status} ${response.statusText}`.trim()}`;
    if (location !== null && (status === 0 || (status >= 300 && status < 400))) {
      const target = URL.canParse(location, response.url || this.baseUrl.href)
        ? new URL(location, response.url || this.baseUrl.href).href
        : location;
      return new RelayError('router_unreachable', `${what}, a redirect to ${target}: give the router's own address`, {
        details: { retryable: false },
      });
    }
    if (status === 401 || status === 403 || status === 407) {
      return new RelayError(status === 403 ? 'forbidden' : 'unauthorized', `${what}, ${quote(text)}`);
    }
    if (GATEWAY_TIMEOUTS.has(status)) {
      const why = `a gateway in between gave up waiting for the router (HTTP ${status})`;
      return new RelayError('router_unreachable', `${what}: ${why}, ${quote(text)}`, {
        details: { gateway_status: status, ...readRetryAfter(response) },
      });
    }
    return new RelayError('router_unreachable', `${what}, not as a relay router does: ${quote(text)}`, {
      details: {
        retryable: status === 408 || status === 429 || status === 502 || status === 503,
        ...readRetryAfter(response),
      },
    });
  }
}

/** `Retry-After` in seconds (RFC 9110 §10.2.3), which may also be given as a date. */
function readRetryAfter({ headers }: Response): { retry_after?: number } {
  const field = headers.get('Retry-After') ?? '';
  const seconds = /^\d+$/.test(field) ? Number(field) : Math.ceil((Date.parse(field) - Date.now()) / 1000);
  return Number.isFinite(seconds) ? { retry_after: Math.max(0, seconds) } : {};
}

/** Why something failed, with the causes beneath it, which is where `fetch` hides the reason. */
export function describe(thrown: unknown): string {
  const parts: string[] = [];
  let error = toErrorLike(thrown);
  for (let depth = 0; error !== undefined && depth < 4; depth += 1) {
    const inner = error.errors?.map((one) => describe(one)).join(', ');
    const text = error.message || inner || error.code || error.name;
    if (text !== undefined && text !== 'fetch failed' && !parts.includes(text)) parts.push(text);
    error = toErrorLike(error.cause);
  }
  return parts.join(': ') || toErrorLike(thrown)?.message || String(thrown);
}

interface ErrorLike {
  readonly message?: string;
  readonly name?: string;
  readonly code?: string;
  readonly cause?: unknown;
  readonly errors?: readonly unknown[];
}

/** By its looks: an error from another realm is an instance of nothing here. */
const toErrorLike = (thrown: unknown): ErrorLike | undefined =>
  typeof thrown === 'object' && thrown !== null && 'message' in thrown ? (thrown as ErrorLike) : undefined;

/** Text of a body, cut at `limit` bytes. */
async function readText(response: Response, signal?: AbortSignal, limit = Number.POSITIVE_INFINITY): Promise<string> {
  if (response.body === null) return '';
  const decoder = new TextDecoder();
  let text = '';
  let length = 0;
  const reader = response.body.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return text + decoder.decode();
      length += value.length;
      text += decoder.decode(value, { stream: true });
      if (length >= limit) {
        await reader.cancel();
        return text;
      }
    }
  } catch (cause) {
    signal?.throwIfAborted();
    throw new RelayError('transfer_interrupted', `the answer broke off: ${describe(cause)}`, { cause });
  }
}

function quote(text: string): string {
  const plain = text
    .replace(/<(script|style)\b.*?<\/\1>/gis, ' ')
    .replace(/<[^>]*>/g, ' ')
    .replace(/\s+/g, ' ')
    .trim();
  if (plain === '') return 'with nothing to read in it';
  return JSON.stringify(plain.length > MAX_SNIPPET_LENGTH ? `${plain.slice(0, MAX_SNIPPET_LENGTH)}…` : plain);
}

function readBaseUrl(baseUrl: string | URL): URL {
  const url = URL.parse(baseUrl);
  if (url === null || !/^https?:$/.test(url.protocol)) {
    throw new RelayError('usage', `${JSON.stringify(String(baseUrl))} is not the http(s) URL of a router`);
  }
  url.hash = '';
  url.search = '';
  // Relative paths are resolved below a last slash only.
  if (!url.pathname.endsWith('/')) url.pathname += '/';
  return url;
}
