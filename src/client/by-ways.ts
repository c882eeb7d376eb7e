import { LineRate, Passage } from '../http/line-rate.ts';
import type { Pattern } from '../protocol/choose-pattern.ts';
import { RelayError } from '../protocol/errors.ts';
import type { OffloadFacts } from '../protocol/offload-facts.ts';
import type { RelayClient } from './client.ts';
import { type Content, isPartsContent, type Known, type PartsContent } from './content.ts';
import { downloadOffloaded } from './store-content.ts';
import type { VersionOptions } from './subject.ts';
import type { Fetch } from './transport.ts';
import type { Ways } from './ways.ts';

/** How to open a dataset by whichever way there is. */
export interface ByWaysOptions extends VersionOptions {
  readonly signal?: AbortSignal | undefined;
  /** What is there already. Where it can be gone on with, the content is the rest. */
  readonly known?: Known | undefined;
  /** Have what the store holds uploaded anew. Default false. */
  readonly fresh?: boolean | undefined;
  /** Over how many connections a stream may come, as `requestStream` has it. */
  readonly parallel?: number | undefined;
  /** What the store is reached by. Default: the platform's own. */
  readonly fetch?: Fetch | undefined;
  /** How long a store may say nothing, in milliseconds. */
  readonly stallTimeoutMs?: number | undefined;
  /** Told when the bytes broke off after `offset` of them, before they go on from there. */
  readonly onInterruption?: ((error: RelayError, offset: number) => void) | undefined;
}

/** Content, and the request at the router that it came by, where that is known. */
export type OpenedContent = Content & {
  readonly requestId?: string | undefined;
  readonly offload?: OffloadFacts | undefined;
};

/** How fast the way from the store is, as far as downloads of a client have shown that. */
const STORE_LINES = new WeakMap<RelayClient, LineRate>();

function storeLineOf(client: RelayClient): LineRate {
  const line = STORE_LINES.get(client) ?? new LineRate();
  STORE_LINES.set(client, line);
  return line;
}

/** A dataset of a connector. */
interface Subject {
  readonly mac: string;
  readonly dataset: string;
}

/**
 * The content of a dataset, by the way that is to be taken. Where that breaks down, its body goes on by whichever is left, at
 * the byte where it was.
 * @throws {RelayError} as the client's requests do, when no way is left.
 */
export async function openByWays(
  client: RelayClient,
  subject: Subject,
  ways: Ways,
  options: ByWaysOptions = {},
): Promise<OpenedContent> {
  const content = await openOnce(client, subject, ways, options);
  return goingOn(content, { client, subject, ways, options });
}

/**
 * Runs `attempt`, which takes the way that `ways` has, again by the next one as long as one is left.
 * @param options.mayRetry whether that is still possible: not once bytes are out that cannot be taken back.
 */
export async function tryWays<T>(
  ways: Ways,
  attempt: () => Promise<T>,
  {
    signal,
    mayRetry = () => true,
  }: { readonly signal?: AbortSignal | undefined; readonly mayRetry?: () => boolean } = {},
): Promise<T> {
  ways.begin();
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      signal?.throwIfAborted();
      if (!(error instanceof RelayError) || !mayRetry()) throw error;
      if (!ways.fail(error)) throw ways.explain(error);
    }
  }
}

async function openOnce(
  client: RelayClient,
  subject: Subject,
  ways: Ways,
  options: ByWaysOptions,
): Promise<OpenedContent> {
  for (;;) {
    const pattern = ways.current;
    ways.asked += 1;
    try {
      const content = await openByPattern(client, pattern, subject, options);
      if (pattern !== 'stream' || ways.learn(factsOf(content, storeLineOf(client))) === pattern) return content;
      await content.body.cancel();
    } catch (error) {
      options.signal?.throwIfAborted();
      if (!(error instanceof RelayError)) throw error;
      if (!ways.fail(error)) throw ways.explain(error);
    }
  }
}

async function openByPattern(
  client: RelayClient,
  pattern: Pattern,
  { mac, dataset }: Subject,
  options: ByWaysOptions,
): Promise<OpenedContent> {
  const { signal, known, fresh, fetch, stallTimeoutMs, onChange, minAgeMs, onInterruption, parallel } = options;
  const version = { onChange, minAgeMs };
  if (pattern === 'stream')
    return client.requestStream(mac, dataset, { signal, known, onInterruption, parallel, ...version });
  if (pattern === 'sync') return client.requestSyncBytes(mac, dataset, { signal, ...version });
  // Of one that grows, the same beginning again, which is there already.
  const hold = (etag: string | undefined) => (onChange === 'prefix' ? { ifMatch: etag } : {});
  const answer = await client.requestOffload(mac, dataset, { signal, fresh, ...version, ...hold(known?.etag) });
  const renew = async (inner: AbortSignal | undefined): Promise<string> => {
    const wish = { signal: inner ?? signal, wantDigest: false, onChange, ...hold(answer.etag) };
    const again = await client.requestOffload(mac, dataset, wish);
    if (again.etag !== answer.etag || again.size !== answer.size) {
      throw new RelayError('dataset_changed', 'the dataset changed between two URLs for it');
    }
    return again.download_url;
  };
  return downloadOffloaded(answer, { signal, known, fetch, stallTimeoutMs, renew });
}

/** What the beginning of a stream tells of the ways to the rest of it. */
function factsOf({ size, offset = 0, offload }: OpenedContent, storeLine: LineRate) {
  const rate = storeLine.known(performance.now());
  return { ...offload, ...(size !== undefined && { size: size - offset }), downloadRate: rate && rate * 1000 };
}

interface GoingOn {
  readonly client: RelayClient;
  readonly subject: Subject;
  readonly ways: Ways;
  readonly options: ByWaysOptions;
}

/** The same content, which goes on by another way where the one that it comes by breaks down. */
function goingOn(first: OpenedContent, plan: GoingOn): OpenedContent {
  const source = new GoingOnSource(first, plan);
  return {
    ...first,
    body: new ReadableStream<Uint8Array>(source, { highWaterMark: 0 }),
    digest: () => source.content.digest(),
    ...(first.currentSize !== undefined && {
      currentSize: () => source.content.currentSize?.() ?? Promise.resolve(undefined),
    }),
    ...(isPartsContent(first) && { writeParts: timed(first, plan) }),
  };
}

/** Parts that break down leave what is there to the next attempt. */
function timed(content: PartsContent, { client, ways }: GoingOn): PartsContent['writeParts'] {
  return async (write, signal, there) => {
    const download = ways.current === 'offload' ? new Passage(storeLineOf(client)) : undefined;
    await content.writeParts(
      (piece, offset) => {
        download?.carry(piece.length);
        return write(piece, offset);
      },
      signal,
      there,
    );
    download?.end();
  };
}

class GoingOnSource implements UnderlyingDefaultSource<Uint8Array> {
  content: OpenedContent;
  readonly #plan: GoingOn;
  #download: Passage | undefined;
  #reader: ReadableStreamDefaultReader<Uint8Array> | undefined;
  /** Where in the whole the next byte for the reader is. */
  #at: number;
  /** Bytes that come again, by a way that has no beginning but the first. */
  #skip = 0;

  constructor(content: OpenedContent, plan: GoingOn) {
    this.content = content;
    this.#plan = plan;
    this.#at = content.offset ?? 0;
  }

  async pull(controller: ReadableStreamDefaultController<Uint8Array>): Promise<void> {
    for (;;) {
      // The first is taken when it is read: whoever takes parts must find it untouched.
      if (this.#reader === undefined) {
        const { client, ways } = this.#plan;
        this.#reader = this.content.body.getReader();
        this.#download = ways.current === 'offload' ? new Passage(storeLineOf(client)) : undefined;
      }
      try {
        const { done, value } = await this.#reader.read();
        if (done) {
          this.#download?.end();
          controller.close();
          return;
        }
        this.#download?.carry(value.length);
        const bytes = this.#skip > 0 ? value.subarray(this.#skip) : value;
        this.#skip -= value.length - bytes.length;
        if (bytes.length === 0) continue;
        // Once it is taken its length may be gone.
        this.#at += bytes.length;
        controller.enqueue(bytes);
        return;
      } catch (error) {
        if (await this.#goOn(error)) continue;
        controller.close();
        return;
      }
    }
  }

  async cancel(reason: unknown): Promise<void> {
    await (this.#reader ?? this.content.body).cancel(reason);
  }

  /** @returns false where all is there but the word that it is right, which the digest gives. */
  async #goOn(error: unknown): Promise<boolean> {
    const { client, subject, ways, options } = this.#plan;
    options.signal?.throwIfAborted();
    const { etag, size } = this.content;
    if (!(error instanceof RelayError) || etag?.startsWith('"') !== true || size === undefined) throw error;
    if (!ways.fail(error)) throw ways.explain(error);
    if (this.#at === size) return false;
    options.onInterruption?.(error, this.#at);
    // It was old enough when it began to come, and one that grows no longer is.
    const more = { ...options, minAgeMs: undefined, known: { etag, size, offset: this.#at } };
    const rest = await openOnce(client, subject, ways, more);
    const offset = rest.offset ?? 0;
    if (rest.etag !== etag || rest.size !== size || offset > this.#at) {
      await rest.body.cancel();
      throw new RelayError('dataset_changed', 'the dataset changed while it was being fetched', { cause: error });
    }
    this.#skip = this.#at - offset;
    this.content = rest;
    this.#reader = undefined;
    return true;
  }
}
