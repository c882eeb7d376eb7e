import type { ErrorCode } from '../protocol/errors.ts';

/** By which of the patterns a dataset is asked for. */
export type Pattern = 'stream' | 'offload';

/** What is known when a pattern is chosen. */
export interface PatternFacts {
  /** Of the dataset, in bytes, where it is known. */
  readonly size?: number | undefined;
  /** Whether the router has a store to offload to; undefined where nobody has said so. */
  readonly canOffload?: boolean | undefined;
  /** Whether parts of the dataset can be had, so that a stream goes on where it breaks off. */
  readonly hasRanges?: boolean | undefined;
  /** How the way that was tried last came to its end. */
  readonly failed?: { readonly pattern: Pattern; readonly code: ErrorCode } | undefined;
}

/** A pattern, and why it is that one, in words for people. */
export interface PatternChoice {
  readonly pattern: Pattern;
  readonly reason: string;
}

/** Up to this size a dataset is small: whatever needs more than one round trip takes longer than its bytes do. */
const SMALL_BYTES = 32 * 1024;

/** What stops a stream, and need not stop an upload: the node sends it by another way, and goes on by parts. */
const STREAM_CANNOT_GO_ON: ReadonlySet<ErrorCode> = new Set([
  'transfer_interrupted',
  'connector_failed',
  'request_timeout',
]);

/**
 * Chooses the pattern for a dataset: a stream, and where that cannot go on, the way by the store.
 * @returns undefined where no other way is left.
 */
export function choosePattern({ size, canOffload, hasRanges, failed }: PatternFacts): PatternChoice | undefined {
  if (failed !== undefined) {
    const isOpen = failed.pattern === 'stream' && canOffload !== false && STREAM_CANNOT_GO_ON.has(failed.code);
    return isOpen ? { pattern: 'offload', reason: `the stream cannot go on (${failed.code})` } : undefined;
  }
  if (size === undefined) return { pattern: 'stream', reason: 'its size is not known, and a stream is one round trip' };
  if (size <= SMALL_BYTES) return { pattern: 'stream', reason: 'it is small, and a stream is one round trip' };
  const goesOn = hasRanges === false ? '' : ', and goes on where it breaks off';
  return { pattern: 'stream', reason: `a stream begins at once${goesOn}` };
}
