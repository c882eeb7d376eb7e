import type { Encoding } from '../../http/coder.ts';
import { RelayError } from '../../protocol/errors.ts';
import type { CodingPlan } from '../coding/codings.ts';
import type { OpenDataset } from '../datasets/open.ts';
import { readDataset } from '../datasets/read.ts';
import { explainObstacle } from '../http/obstacle.ts';
import type { DataOutcome } from '../router-client.ts';
import { dataHeaders } from './data-headers.ts';
import type { RequestContext } from './handler.ts';
import { Patience } from './patience.ts';
import { Progress } from './progress.ts';

/** How often in a row the router may not take in a chunk that it was sent. */
const MAX_VAIN = 5;

/** An answer that took longer, in ms, was held back for want of room: the app does not read. */
const HELD_BACK_MS = 10_000;

/** What is sent of a dataset, and as the answer to what. */
export interface ChunksOptions {
  readonly dataset: OpenDataset;
  readonly requestId: string;
  /** First byte, and the first that is not sent any more. */
  readonly start: number;
  readonly end: number;
  /** The router may have bytes from `start` on already: it is asked first. */
  readonly isBegun?: boolean;
  /** Which bodies to code; none without it. */
  readonly plan?: CodingPlan | undefined;
  /** Sees each piece before it is sent, also one that is sent again. */
  readonly onPiece?: (piece: Buffer, position: number) => void;
}

/**
 * Sends a part of a dataset in binary chunks: in a single long one, which the router passes on while it arrives, or, where
 * something on the way does not let it through, in shorter ones from where the router is, one at a time.
 * @throws {RelayError} connector_failed when the router takes nothing in; transfer_interrupted when not even the shortest
 * gets through; what the dataset and the router throw.
 */
export async function sendChunks(options: ChunksOptions, outer: RequestContext): Promise<void> {
  const { dataset, requestId, start, end } = options;
  const { passages, router, clock } = outer;
  const url = router.url('datasets/stream/chunk');
  const stop = new AbortController();
  const context = { ...outer, signal: AbortSignal.any([outer.signal, stop.signal]) };
  let limit = passages.limit(url);
  let progress: Progress | undefined;
  let position = start;
  let isAsking = options.isBegun === true;
  const patience = new Patience(clock);
  try {
    for (let vain = 0; ; ) {
      // While a slow line carries a chunk to a proxy that collects it, this is all that the router sees.
      if (end - start > limit) progress ??= new Progress(requestId, dataset.facts.size, context, stop);
      const { encoding, maxBytes = Infinity } = options.plan?.next() ?? {};
      const chunkEnd = isAsking ? position : Math.min(end, position + limit, position + maxBytes);
      const sentAt = clock.now();
      const outcome = await postChunk(options, { start: position, end: chunkEnd, encoding }, context).catch(
        async (error: unknown) => {
          await patience.wait(error, context.signal);
          return undefined;
        },
      );
      if (outcome?.kind === 'taken') {
        patience.renew();
        const next = outcome.receipt.next_offset ?? chunkEnd;
        if (next >= end) return;
        if (next > position) vain = 0;
        else if (!isAsking && clock.now() - sentAt < HELD_BACK_MS && vain++ >= MAX_VAIN)
          throw new RelayError('connector_failed', 'the router does not take in what it is sent');
        progress?.add(next - position);
        position = next;
        isAsking = false;
      } else if (outcome?.kind === 'unmeasured') {
        passages.refuseUnmeasured(url);
        isAsking = true;
      } else if (outcome?.kind === 'blocked') {
        const { obstacle } = outcome;
        limit = passages.narrow(url, chunkEnd - position, obstacle) ?? refuse(explainObstacle(obstacle));
        isAsking = true;
      } else {
        // What arrived of it counts.
        isAsking = true;
      }
    }
  } finally {
    progress?.stop();
  }
}

/** One chunk. */
interface Chunk {
  /** First byte, and the first that is not in it. */
  readonly start: number;
  readonly end: number;
  readonly encoding?: Encoding | undefined;
  /** Nothing else of the same dataset is sent beside it. Default: true. */
  readonly isAlone?: boolean;
}

/** Sends one chunk. @returns how far the router is, also where it says that the chunk leaves a gap. */
export async function postChunk(
  { dataset, requestId, onPiece }: ChunksOptions,
  { start, end, encoding, isAlone }: Chunk,
  { router, signal, reportFailure }: RequestContext,
): Promise<DataOutcome> {
  const post = {
    requestId,
    headers: dataHeaders(dataset, start),
    length: end - start,
    encoding,
    isAlone,
    body: (write: (piece: Buffer) => Promise<void>) =>
      readDataset(dataset, {
        start,
        end,
        signal,
        write: (piece, position) => {
          onPiece?.(piece, position);
          return write(piece);
        },
      }),
    beforeCut: reportFailure,
  };
  try {
    return await router.postData('datasets/stream/chunk', post, signal);
  } catch (error) {
    // A gap, in the router's view: it says where to go on.
    if (!(error instanceof RelayError) || error.code !== 'offset_mismatch') throw error;
    const { next_offset, window_end } = error.details;
    if (next_offset === undefined) throw error;
    return { kind: 'taken', receipt: { next_offset, ...(window_end !== undefined && { window_end }) } };
  }
}

function refuse(reason: string): never {
  throw new RelayError('transfer_interrupted', reason, { details: { retryable: false } });
}
