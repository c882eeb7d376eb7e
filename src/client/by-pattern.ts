import { RelayError } from '../protocol/errors.ts';
import { choosePattern, type Pattern, type PatternChoice, type PatternFacts } from './choose-pattern.ts';
import type { RelayClient } from './client.ts';
import type { Content, Known } from './content.ts';
import { downloadOffloaded } from './store-content.ts';
import type { VersionOptions } from './subject.ts';
import type { Fetch } from './transport.ts';

/** How to open a dataset by a pattern. */
export interface ByPatternOptions extends VersionOptions {
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
export type OpenedContent = Content & { readonly requestId?: string | undefined };

/** The content of a dataset, by the pattern that was chosen. @throws {RelayError} as the client's requests do. */
export async function openByPattern(
  client: RelayClient,
  pattern: Pattern,
  { mac, dataset }: { readonly mac: string; readonly dataset: string },
  options: ByPatternOptions = {},
): Promise<OpenedContent> {
  const { signal, known, fresh, fetch, stallTimeoutMs, onChange, minAgeMs, onInterruption, parallel } = options;
  const version = { onChange, minAgeMs };
  if (pattern === 'stream')
    return client.requestStream(mac, dataset, { signal, known, onInterruption, parallel, ...version });
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

/** How patterns are tried one after the other. */
export interface TryOptions {
  readonly signal?: AbortSignal | undefined;
  /** Whether another pattern is still possible: not once bytes are out that cannot be taken back. */
  readonly mayRetry?: (() => boolean) | undefined;
  /** Told before each. */
  readonly onChoice?: ((choice: PatternChoice) => void) | undefined;
}

/**
 * Tries the patterns as `choosePattern` has them, until one works or none is left.
 * @throws what the first of them failed with: the others were only its replacement.
 */
export async function tryPatterns<T>(
  facts: PatternFacts,
  attempt: (pattern: Pattern) => Promise<T>,
  { signal, mayRetry = () => true, onChoice }: TryOptions = {},
): Promise<T> {
  let first: RelayError | undefined;
  for (let choice = choosePattern(facts); choice !== undefined; ) {
    onChoice?.(choice);
    try {
      return await attempt(choice.pattern);
    } catch (error) {
      signal?.throwIfAborted();
      if (!(error instanceof RelayError) || !mayRetry()) throw error;
      first ??= error;
      choice = choosePattern({ ...facts, failed: { pattern: choice.pattern, code: error.code } });
    }
  }
  throw first ?? new RelayError('internal');
}
