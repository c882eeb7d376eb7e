import type { ErrorCode } from './errors.ts';

/** By which of the patterns a dataset comes: A (`sync`), B (`stream`) or C (`offload`). */
export type Pattern = 'sync' | 'stream' | 'offload';

/** How a pattern came to its end. */
interface PatternFailure {
  readonly pattern: Pattern;
  readonly code: ErrorCode;
}

/** What is known when a pattern is chosen. Rates are as measured lately, in bytes a second, and undefined where nobody measured. */
export interface PatternFacts {
  /** The patterns that whoever chooses may take, and that router and node can give. */
  readonly open: readonly Pattern[];
  /** How much is to come, in bytes, where it is known. */
  readonly size?: number | undefined;
  /** At which a stream of this node comes through the router. */
  readonly streamRate?: number | undefined;
  /** At which this node puts datasets into the store, and at which the app takes them from there. */
  readonly uploadRate?: number | undefined;
  readonly downloadRate?: number | undefined;
  /** The store has this very version already. Default false. */
  readonly isStored?: boolean | undefined;
  /** The router has little memory left for streams. Default false. */
  readonly isShort?: boolean | undefined;
  /** What the router may hold of it in memory, in bytes. Default nothing. */
  readonly roomBytes?: number | undefined;
  /** What was tried already, in order. */
  readonly failed?: readonly PatternFailure[] | undefined;
}

/** A pattern, and why it is that one, in words for people. */
export interface PatternChoice {
  readonly pattern: Pattern;
  readonly reason: string;
}

/** From this size on the detour by a store can be worth its round trips, in bytes. */
export const WORTH_OFFLOADING_BYTES = 32 * 1024 * 1024;

/** What is buffered although no line was measured, and the most that is buffered for the sake of it, in bytes. */
const SMALL_BYTES = 64 * 1024;
const MOST_AT_ONCE_BYTES = 256 * 1024;

/** How long an app may have to wait for the first byte where the whole is gathered before it, in seconds. */
const WAIT_S = 0.05;

/** Round trips and the store's own work, in seconds, and by how much the detour must be quicker: what was measured may be past. */
const DETOUR_S = 1;
const QUICKER = 0.8;

/**
 * Failures that another pattern need not meet. All others are the dataset's, the app's, or a router's that wants to be asked
 * less, and the same by any way: its `overloaded` is helped only where it was its memory for pattern A.
 */
const HELPED_BY_ANOTHER: Readonly<Record<Pattern, ReadonlySet<ErrorCode>>> = {
  sync: new Set(['dataset_too_large', 'not_supported', 'overloaded', 'request_timeout', 'connector_failed']),
  stream: new Set(['transfer_interrupted', 'connector_failed', 'request_timeout', 'not_supported']),
  offload: new Set([
    'offload_unavailable',
    'store_unavailable',
    'store_full',
    'not_supported',
    'url_expired',
    'request_gone',
    'request_timeout',
    'transfer_interrupted',
    'connector_failed',
  ]),
};

/** What comes next: a node that cannot stream may know pattern A alone, and one whose streams break off may upload. */
const AFTER_STREAM: readonly Pattern[] = ['offload', 'sync'];
const AFTER_STREAM_UNSUPPORTED: readonly Pattern[] = ['sync', 'offload'];
const AFTER_OTHERS: readonly Pattern[] = ['stream', 'offload', 'sync'];

const NAMES = { sync: 'buffering', stream: 'streaming', offload: 'the way by the store' } as const;

/**
 * Chooses the pattern for a dataset, before anything has come of it or where another pattern has failed.
 * @returns undefined where no pattern is left that could help.
 */
export function choosePattern(facts: PatternFacts): PatternChoice | undefined {
  const { failed = [] } = facts;
  const open = facts.open.filter((pattern) => failed.every((failure) => failure.pattern !== pattern));
  const last = failed.at(-1);
  if (last !== undefined) return chooseAfter(last, open);
  return (
    (open.includes('sync') ? chooseSync(facts) : undefined) ??
    (open.includes('offload') ? chooseOffload(facts) : undefined) ??
    (open.includes('stream') ? chooseStream(facts) : undefined) ??
    (open[0] && { pattern: open[0], reason: 'no other way is open' })
  );
}

function chooseAfter({ pattern, code }: PatternFailure, open: readonly Pattern[]): PatternChoice | undefined {
  if (!HELPED_BY_ANOTHER[pattern].has(code)) return undefined;
  const isUnsupported = code === 'not_supported';
  const order = pattern !== 'stream' ? AFTER_OTHERS : isUnsupported ? AFTER_STREAM_UNSUPPORTED : AFTER_STREAM;
  const next = order.find((each) => open.includes(each));
  return next && { pattern: next, reason: `${NAMES[pattern]} does not work (${code})` };
}

/** Gathered first, a dataset fails with a status in place of a cut connection, and its digest comes before it. */
function chooseSync({ size, streamRate, roomBytes }: PatternFacts): PatternChoice | undefined {
  const soon = Math.max(SMALL_BYTES, Math.min(MOST_AT_ONCE_BYTES, (streamRate ?? 0) * WAIT_S));
  if (size === undefined || roomBytes === undefined || size > Math.min(soon, roomBytes)) return undefined;
  return { pattern: 'sync', reason: 'it is small, and comes as one answer' };
}

function chooseOffload(facts: PatternFacts): PatternChoice | undefined {
  const { size, streamRate, uploadRate, downloadRate, isStored = false, isShort = false } = facts;
  if (size === undefined || size < WORTH_OFFLOADING_BYTES) return undefined;
  if (isShort) return { pattern: 'offload', reason: 'the router has little memory left for streams' };
  // What is there costs the node's line nothing, so that only a measured slowness speaks against it.
  if (isStored && (downloadRate === undefined || streamRate === undefined || downloadRate >= streamRate)) {
    return { pattern: 'offload', reason: 'the store has it already' };
  }
  if (streamRate === undefined || downloadRate === undefined) return undefined;
  const upload = isStored ? 0 : uploadRate === undefined ? Infinity : size / uploadRate;
  const seconds = DETOUR_S + upload + size / downloadRate;
  const streaming = size / streamRate;
  if (seconds >= QUICKER * streaming) return undefined;
  const reason = `by what was measured it takes ${Math.ceil(seconds)} s by the store and ${Math.ceil(streaming)} s by a stream`;
  return { pattern: 'offload', reason };
}

function chooseStream({ size }: PatternFacts): PatternChoice {
  const reason =
    size === undefined
      ? 'its size is not known yet, and a stream is one round trip'
      : size < WORTH_OFFLOADING_BYTES
        ? 'a stream is one round trip'
        : 'a stream begins at once, and nothing is known to be quicker';
  return { pattern: 'stream', reason };
}
