import {
  encodeFailure,
  type PartsGrant,
  type PartsRequest,
  partsGrant,
  type Receipt,
  type Result,
} from '../protocol/answers.ts';
import type { Encoding } from '../http/coder.ts';
import { currentTrace } from '../observability/trace.ts';
import { decodeValue, unwrap } from '../protocol/codec.ts';
import { RelayError } from '../protocol/errors.ts';
import { HEADER } from '../protocol/headers.ts';
import { encodeInlineHead, encodeInlineResult, type InlineHead } from '../protocol/inline.ts';
import type { Mac } from '../protocol/mac.ts';
import type { Arrivals } from './arrivals.ts';
import type { Authorization } from './authorization.ts';
import type { Clock } from './clock.ts';
import type { Agents } from './http/agents.ts';
import { type BodyTally, newTally, tallyBody } from './coding/coded-body.ts';
import { type LineRate, TELLING_BYTES } from '../http/line-rate.ts';
import { findObstacle, type Obstacle } from './http/obstacle.ts';
import { isPassing, parseReply, toReplyError } from './http/reply-error.ts';
import { type BodyWriter, type Reply, send } from './http/send.ts';
import type { Link } from './link/link.ts';
import { HOLDABLE_BYTES } from './passages.ts';

/** RFC 9110 §15.5.12. */
const LENGTH_REQUIRED = 411;

/** How long a request may be silent in both directions before it counts as broken. */
const SILENCE_MS = 60_000;

/** How often a JSON request is made in all, and the ceiling of the first pause; it doubles with each. */
const JSON_ATTEMPTS = 5;
const FIRST_PAUSE_MS = 250;
const MAX_RETRY_AFTER_MS = 10_000;

/** How long the first tries of a JSON request may be silent: a router answers it at once, unless its store makes it wait. */
const FIRST_SILENCE_MS = 15_000;
const SHORT_ATTEMPTS = 2;

/** How long what will soon be said again may take in all. */
const REPORT_TIMEOUT_MS = 10_000;

interface RouterClientOptions {
  readonly routerUrl: URL;
  readonly mac: Mac;
  readonly authorization: Authorization;
  readonly agents: Agents;
  readonly clock: Clock;
  readonly arrivals: Arrivals;
  readonly lineRate: LineRate;
  /** The link at the moment. With one the router is known to be there: silence on a data POST means an app that does not read. */
  readonly findLink: () => Link | undefined;
}

/** A binary body and what its headers say. */
export interface DataPost {
  readonly requestId: string;
  readonly headers: Readonly<Record<string, string>>;
  /** Of the content before any coding, in bytes. */
  readonly length: number;
  /** Of the content on the way. Default: none. */
  readonly encoding?: Encoding | undefined;
  /** It has the line for itself, as far as one dataset goes, so that it says how fast that is. Default: true. */
  readonly isAlone?: boolean | undefined;
  readonly body: BodyWriter;
  /** Called with what the body's writer threw while the POST is still open, so that the reason arrives before the break. */
  readonly beforeCut: (error: unknown) => Promise<void>;
}

/** What became of a binary body. */
export type DataOutcome =
  | { readonly kind: 'taken'; readonly receipt: Partial<Receipt> }
  /** Something on the way did not let it through; a shorter one may pass. */
  | { readonly kind: 'blocked'; readonly obstacle: Obstacle }
  /** Something on the way takes no body without its length, and so none that is coded. */
  | { readonly kind: 'unmeasured' };

/** What a connector says to the router, over HTTP for the most part. Every method rejects with the signal's reason when it aborts. */
export class RouterClient {
  readonly #options: RouterClientOptions;
  readonly #urls = new Map<string, URL>();

  constructor(options: RouterClientOptions) {
    this.#options = options;
  }

  /** The URL of an endpoint below the router's base, by its path: one of a few. */
  url(path: string): URL {
    const known = this.#urls.get(path);
    if (known !== undefined) return known;
    const url = routerEndpoint(this.#options.routerUrl, path);
    this.#urls.set(path, url);
    return url;
  }

  /**
   * Answers a command in JSON, over the link where that takes it: where it breaks, the router asks again.
   * @param inlineMax of the command.
   */
  async sendResult(
    result: Omit<Result, 'encoding'>,
    inlineMax: number | undefined,
    signal: AbortSignal,
  ): Promise<void> {
    const message = encodeInlineResult(result);
    if (Buffer.byteLength(message) <= (inlineMax ?? 0) && this.#options.findLink()?.sendResult?.(message) === true)
      return;
    await this.postResult(result, signal);
  }

  /** Answers a command in JSON by a POST. Safe to repeat, and repeated where the connection or a proxy fails. */
  async postResult(result: Omit<Result, 'encoding'>, signal: AbortSignal): Promise<void> {
    await this.#postJson('datasets/result', result, signal);
  }

  /**
   * Answers a command with bytes over the link. Nothing comes in reply.
   * @returns whether the link takes them.
   */
  async sendInline(head: InlineHead, bytes: Buffer, inlineMax: number, signal: AbortSignal): Promise<boolean> {
    const { findLink, agents } = this.#options;
    const line = Buffer.from(encodeInlineHead(head));
    const length = line.length + bytes.length;
    if (length > inlineMax || findLink()?.sendResult === undefined) return false;
    await agents.pace?.open().take(length, signal);
    return findLink()?.sendResult?.(Buffer.concat([line, bytes], length)) ?? false;
  }

  /** Answers a command with a failure. */
  async postFailure(requestId: string, error: RelayError, signal: AbortSignal): Promise<void> {
    await this.#postJson('datasets/result', encodeFailure(requestId, error), signal);
  }

  /** Ends a stream. */
  async postComplete(
    complete: { request_id: string; total_size: number; digest?: string },
    signal: AbortSignal,
  ): Promise<void> {
    await this.#postJson('datasets/stream/complete', complete, signal);
  }

  /** Asks for URLs of parts. */
  async postParts(request: PartsRequest, signal: AbortSignal): Promise<PartsGrant> {
    const reply = await this.#postJson('datasets/offload/parts', request, signal);
    return unwrap(decodeValue(partsGrant, parseReply(reply), 'connector_failed'));
  }

  /** Says how far an upload is. Not repeated: the next one says more. */
  async postProgress(
    progress: { request_id: string; bytes_done: number; total_size: number },
    signal: AbortSignal,
  ): Promise<void> {
    const limited = AbortSignal.any([signal, AbortSignal.timeout(REPORT_TIMEOUT_MS)]);
    await this.#postOnce('datasets/offload/progress', JSON.stringify(progress), {}, limited);
  }

  /** Says that an SSE link is alive, or that its connector is draining. @throws {RelayError} request_gone when the router does not know it. */
  async postHeartbeat(linkId: string, body: { event: 'draining' } | undefined, signal: AbortSignal): Promise<void> {
    const limited = AbortSignal.any([signal, AbortSignal.timeout(REPORT_TIMEOUT_MS)]);
    const text = body === undefined ? '' : JSON.stringify(body);
    await this.#postOnce(`connectors/${this.#options.mac}/heartbeat`, text, { [HEADER.linkId]: linkId }, limited);
  }

  /**
   * Sends a dataset or a part of one. Not repeated, since what arrived of it counts. A long body is cut when the router does
   * not say that it arrives; the wait for that runs beside it and ends with the answer.
   */
  async postData(
    path: 'datasets/result' | 'datasets/stream/chunk',
    post: DataPost,
    signal: AbortSignal,
  ): Promise<DataOutcome> {
    const cut = new AbortController();
    const tally = newTally();
    // Of several at once nobody could tell which one it is that arrives; they are short.
    const isHoldable = post.isAlone !== false && post.length > HOLDABLE_BYTES;
    const watch = isHoldable ? this.#options.arrivals.watch(post.requestId, () => cut.abort()) : undefined;
    try {
      const reply = await send(this.#options.agents, {
        method: 'POST',
        url: this.url(path),
        headers: {
          ...this.#options.authorization.headers(),
          ...post.headers,
          ...traceHeader(),
          [HEADER.requestId]: post.requestId,
          ...(post.encoding === undefined
            ? { 'Content-Length': String(post.length) }
            : { 'Content-Encoding': post.encoding.coding }),
        },
        body: tallyBody(post.body, { encoding: post.encoding, tally, line: this.#options.lineRate }),
        signal: isHoldable ? AbortSignal.any([signal, cut.signal]) : signal,
        silenceMs: SILENCE_MS,
        isStalled: () => this.#options.findLink() === undefined,
        onConnected: () => watch?.start(),
        beforeCut: post.beforeCut,
      });
      if (post.encoding !== undefined && reply.status === LENGTH_REQUIRED) return { kind: 'unmeasured' };
      const obstacle = findObstacle(reply);
      if (obstacle !== undefined) return { kind: 'blocked', obstacle };
      const receipt = parseReply(check(reply)) ?? {};
      if (post.isAlone !== false) this.#noteRate(tally);
      return { kind: 'taken', receipt };
    } catch (error) {
      if (cut.signal.aborted && !signal.aborted) return { kind: 'blocked', obstacle: 'held' };
      throw error;
    } finally {
      watch?.stop();
    }
  }

  #noteRate({ bytes, lineBytes, begunAt, madeMs }: BodyTally): void {
    const { lineRate, clock } = this.#options;
    // A short one says nothing, whatever went beside it.
    if (bytes < TELLING_BYTES) return;
    lineRate.note({ bytes: lineBytes, madeMs, ms: performance.now() - begunAt }, clock.now());
  }

  async #postJson(path: string, body: object | string, signal: AbortSignal): Promise<Reply> {
    const { clock } = this.#options;
    const text = typeof body === 'string' ? body : JSON.stringify(body);
    for (let attempt = 1; ; attempt++) {
      try {
        // One that is said again while the first is still looked at waits for its outcome.
        const silenceMs = attempt <= SHORT_ATTEMPTS ? FIRST_SILENCE_MS : SILENCE_MS;
        return await this.#postOnce(path, text, {}, signal, silenceMs);
      } catch (error) {
        if (signal.aborted || attempt >= JSON_ATTEMPTS || !isWorthRepeating(error)) throw error;
        const retryAfterMs = Math.min((error.details.retry_after ?? 0) * 1000, MAX_RETRY_AFTER_MS);
        await clock.sleep(retryAfterMs + clock.random() * FIRST_PAUSE_MS * 2 ** (attempt - 1), signal);
      }
    }
  }

  async #postOnce(
    path: string,
    body: string,
    headers: Record<string, string>,
    signal: AbortSignal,
    silenceMs = SILENCE_MS,
  ): Promise<Reply> {
    return check(
      await send(this.#options.agents, {
        method: 'POST',
        url: this.url(path),
        headers: {
          ...this.#options.authorization.headers(),
          ...headers,
          ...traceHeader(),
          ...(body !== '' && { 'Content-Type': 'application/json' }),
          'Content-Length': String(Buffer.byteLength(body)),
        },
        body,
        signal,
        silenceMs,
      }),
    );
  }
}

/** The trace of the command that is being answered. */
function traceHeader(): Record<string, string> {
  const trace = currentTrace();
  return trace === undefined ? {} : { [HEADER.traceparent]: trace };
}

/** The URL of `path` below a router's base, which may have a path prefix. */
export function routerEndpoint(base: URL, path: string): URL {
  const url = new URL(base);
  url.pathname = `${base.pathname.replace(/\/+$/, '')}/${path}`;
  url.search = '';
  url.hash = '';
  return url;
}

/** Whether an error means that the app is gone or the request has ended, so that nobody waits for an answer. */
export const isGone = (error: unknown): boolean =>
  error instanceof RelayError && (error.code === 'request_gone' || error.code === 'cancelled');

function check(reply: Reply): Reply {
  const error = toReplyError(reply);
  if (error !== undefined) throw error;
  return reply;
}

function isWorthRepeating(error: unknown): error is RelayError {
  if (!(error instanceof RelayError)) return false;
  const isOnTheWay = error.code === 'transfer_interrupted' || error.code === 'router_unreachable';
  return isOnTheWay ? error.retryable : isPassing(error.status);
}
