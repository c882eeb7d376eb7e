import { findProxyError } from '../http/proxy/proxy-error.ts';
import { RelayError } from '../protocol/errors.ts';
import { readContentLength } from './content.ts';
import { withinDeadline } from './deadline.ts';
import { backoff, pause } from './pause.ts';
import { describe, type Fetch } from './transport.ts';

/** How to reach a store. */
export interface StoreReaderOptions {
  /** Default: the platform's own. */
  readonly fetch?: Fetch | undefined;
  /** Gives a fresh URL for the same object when the store says that the one in use has expired. Default: that is an error. */
  readonly renew?: ((signal: AbortSignal | undefined) => Promise<string>) | undefined;
  /** How long the store may take to begin an answer before it is asked again, in milliseconds. Default 100,000. */
  readonly stallTimeoutMs?: number | undefined;
  /** How often a part is taken up again without a byte of progress. Default 5. */
  readonly maxFailures?: number | undefined;
}

/** Bytes from `start` up to but without `end` (undefined: the end of the object). */
interface Span {
  readonly start: number;
  readonly end: number | undefined;
}

/** Reads one object of a store under its signed URL, parts of it in parallel if need be, and never two objects mixed. */
export class StoreReader {
  readonly #fetch: Fetch;
  readonly #renew: StoreReaderOptions['renew'];
  readonly #maxFailures: number;
  readonly #stallTimeoutMs: number;
  #url: string;
  #renewing: Promise<void> | undefined;
  /** The store's entity tag of the object, from the first answer on. */
  #etag: string | undefined;

  constructor(url: string, { fetch, renew, maxFailures = 5, stallTimeoutMs = 100_000 }: StoreReaderOptions) {
    this.#url = url;
    this.#fetch = fetch ?? ((input, init) => globalThis.fetch(input, init));
    this.#renew = renew;
    this.#maxFailures = maxFailures;
    this.#stallTimeoutMs = stallTimeoutMs;
  }

  /**
   * Reads a span in order and goes on where the transfer broke off.
   * @param opened a response for this very span that has begun already.
   * @throws {RelayError} content_mismatch when the object is another than before; url_expired; request_gone when it is no
   * longer there; store_unavailable, transfer_interrupted after several tries without progress.
   */
  async *read(
    start: number,
    end: number | undefined,
    signal: AbortSignal | undefined,
    opened?: Response,
  ): AsyncGenerator<Uint8Array, void, undefined> {
    const progress = { at: start, end };
    // Once ranges have been used, the whole must not come where a part is wanted.
    const isPart = start > 0 || opened !== undefined;
    let response = opened;
    for (let failures = 0; ; ) {
      const before = progress.at;
      try {
        response ??= (await this.open({ start: before, end: progress.end }, signal, isPart)).response;
        progress.end ??= plus(before, readContentLength(response.headers));
        yield* readBody(response, progress);
        return;
      } catch (error) {
        signal?.throwIfAborted();
        response = undefined;
        failures = progress.at > before ? 1 : failures + 1;
        if (!isPassing(error) || failures > this.#maxFailures) throw error;
        await pause(backoff(failures, 250, 5000), signal);
      }
    }
  }

  /**
   * Asks for a span and resolves when the store has begun to send it.
   * @param ranged whether to ask for a range; default true. What does not begin at 0 always is one.
   * @returns the response, and whether it is the part that was asked for; else it is the whole object.
   */
  async open(
    { start, end }: Span,
    signal: AbortSignal | undefined,
    ranged = true,
  ): Promise<{ readonly response: Response; readonly isPart: boolean }> {
    const asksPart = (ranged || start > 0) && end !== 0;
    for (let renewed = false; ; renewed = true) {
      const url = this.#url;
      const response = await this.#get(
        url,
        {
          ...(asksPart && { Range: `bytes=${start}-${end === undefined ? '' : end - 1}` }),
          ...(this.#etag !== undefined && { 'If-Match': this.#etag }),
          'Accept-Encoding': 'identity',
        },
        signal,
      );
      if (response.status === 403 && this.#renew !== undefined && !renewed) {
        await response.body?.cancel();
        await this.#renewUrl(url, signal);
        continue;
      }
      const isPart = response.status === 206;
      if (!response.ok) throw await explain(response);
      if (start > 0 && !isPart)
        throw await refuse(response, 'the store sent the whole object where a part was asked for');
      if (isPart && !startsAt(response, start))
        throw await refuse(response, 'the store sent another part than was asked for');
      await this.#compare(response);
      return { response, isPart };
    }
  }

  /** Asks for one byte, which costs the store nothing. Resolves when it is there. */
  async ask(signal: AbortSignal): Promise<void> {
    const response = await this.#get(this.#url, { Range: 'bytes=0-0', 'Accept-Encoding': 'identity' }, signal);
    await response.body?.cancel();
  }

  async #get(url: string, headers: Record<string, string>, signal: AbortSignal | undefined): Promise<Response> {
    const fetch = this.#fetch;
    try {
      return await withinDeadline(this.#stallTimeoutMs, signal, noAnswer, (limited) =>
        fetch(url, { headers, signal: limited }),
      );
    } catch (cause) {
      signal?.throwIfAborted();
      const refusal = findProxyError(cause);
      if (refusal !== undefined && !refusal.retryable) throw refusal;
      const message = `the object store at ${new URL(url).origin} cannot be reached: ${describe(cause)}`;
      throw new RelayError('store_unavailable', message, { cause });
    }
  }

  async #compare(response: Response): Promise<void> {
    const etag = response.headers.get('ETag');
    if (etag === null || etag.startsWith('W/')) return;
    if (this.#etag !== undefined && etag !== this.#etag)
      throw await refuse(response, 'the object in the store was replaced');
    this.#etag = etag;
  }

  /** One renewal serves all parts that met the same expired URL. */
  async #renewUrl(expired: string, signal: AbortSignal | undefined): Promise<void> {
    if (this.#url !== expired || this.#renew === undefined) return;
    this.#renewing ??= this.#takeNewUrl(this.#renew, signal).finally(() => {
      this.#renewing = undefined;
    });
    await this.#renewing;
  }

  async #takeNewUrl(renew: (signal: AbortSignal | undefined) => Promise<string>, signal?: AbortSignal): Promise<void> {
    this.#url = await renew(signal);
  }
}

const noAnswer = (): RelayError => new RelayError('store_unavailable', 'it did not answer in time');

/** Passes on a response's bytes, counting them as they go. @throws {RelayError} transfer_interrupted when they end early. */
async function* readBody(
  response: Response,
  progress: { at: number; readonly end: number | undefined },
): AsyncGenerator<Uint8Array, void, undefined> {
  const reader = (response.body ?? new Blob([]).stream()).getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read().catch((cause: unknown) => {
        throw new RelayError('transfer_interrupted', `the transfer from the store broke off: ${describe(cause)}`, {
          cause,
        });
      });
      if (done) break;
      if (progress.end !== undefined && progress.at + value.length > progress.end) {
        throw new RelayError('content_mismatch', 'the store sent more than was asked for');
      }
      progress.at += value.length;
      yield value;
    }
  } finally {
    await reader.cancel().catch(() => undefined);
  }
  if (progress.end !== undefined && progress.at < progress.end) {
    throw new RelayError('transfer_interrupted', 'the transfer from the store broke off early');
  }
}

const plus = (offset: number, length: number | undefined): number | undefined =>
  length === undefined ? undefined : offset + length;

/** Whether the same span may be had a moment later. */
function isPassing(error: unknown): boolean {
  if (!(error instanceof RelayError)) return false;
  return error.retryable && (error.code === 'transfer_interrupted' || error.code === 'store_unavailable');
}

function startsAt(response: Response, start: number): boolean {
  const match = /^bytes (\d+)-/.exec(response.headers.get('Content-Range') ?? '');
  return match !== null && Number(match[1]) === start;
}

async function refuse(response: Response, message: string): Promise<RelayError> {
  await response.body?.cancel();
  return new RelayError('content_mismatch', message);
}

async function explain(response: Response): Promise<RelayError> {
  const { status } = response;
  const text = (await response.text().catch(() => '')).replace(/\s+/g, ' ').trim();
  const reason =
    /<Message>(.*?)<\/Message>/i.exec(text)?.[1] ?? /"detail":"(.*?)"/.exec(text)?.[1] ?? text.slice(0, 160);
  const what = `the object store answered ${status}${reason === '' ? '' : ` (${reason})`}`;
  if (status === 403) return new RelayError('url_expired', `${what}: the download URL is not valid, or no longer`);
  if (status === 404 || status === 410) {
    return new RelayError('request_gone', `${what}: the object is no longer there`, { details: { retryable: true } });
  }
  if (status === 412) return new RelayError('content_mismatch', `${what}: the object in the store was replaced`);
  const passes = status >= 500 || status === 408 || status === 429;
  return new RelayError('store_unavailable', what, { details: { retryable: passes } });
}
