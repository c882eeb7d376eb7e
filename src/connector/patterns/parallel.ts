import { FAR_MS, Width } from '../../http/width.ts';
import { RelayError } from '../../protocol/errors.ts';
import type { Obstacle } from '../http/obstacle.ts';
import { type ChunksOptions, postChunk } from './chunks.ts';
import type { RequestContext } from './handler.ts';
import { Patience } from './patience.ts';
import { probe } from './probe.ts';

const MIB = 1024 * 1024;

/** Datasets below this are through before it matters. */
const LEAST_BYTES = 4 * MIB;

interface ParallelOptions extends Omit<ChunksOptions, 'onPiece'> {
  /** Up to where the router takes chunks, to begin with. */
  readonly windowEnd: number;
  /** The time that a byte and its answer take, in ms. */
  readonly roundTripMs: number;
}

/** What came of it: all is sent, or something on the way does not even let the shortest bodies through. */
type ParallelOutcome = { readonly kind: 'sent' } | { readonly kind: 'blocked'; readonly obstacle: Obstacle };

/** Whether sending side by side is worth it. */
export const isWorthParallel = (bytes: number, roundTripMs: number | undefined): roundTripMs is number =>
  roundTripMs !== undefined && roundTripMs >= FAR_MS && bytes >= LEAST_BYTES;

/**
 * Sends a part of a dataset in chunks over several connections at once, as far ahead as the router's window lets it: over a
 * long way one TCP stream carries no more than its window for each round trip, and less after each loss.
 * @throws {RelayError} what the dataset and the router throw; transfer_interrupted when nothing gets through.
 */
export async function sendInParallel(options: ParallelOptions, outer: RequestContext): Promise<ParallelOutcome> {
  const stop = new AbortController();
  const context = { ...outer, signal: AbortSignal.any([outer.signal, stop.signal]) };
  try {
    return await new ParallelSending(options, context).run();
  } finally {
    stop.abort(new RelayError('cancelled', 'the sending of this dataset ended'));
  }
}

class ParallelSending {
  readonly #options: ParallelOptions & ChunksOptions;
  readonly #context: RequestContext;
  readonly #width: Width;
  readonly #lanes = new Set<Promise<void>>();
  readonly #url: URL;
  #next: number;
  #windowEnd: number;
  #obstacle: Obstacle | undefined;

  constructor(options: ParallelOptions, context: RequestContext) {
    const { clock } = context;
    this.#options = { ...options, onPiece: (piece) => this.#width.note(piece.length, clock.now()) };
    this.#context = context;
    this.#next = options.start;
    this.#windowEnd = options.windowEnd;
    this.#url = context.router.url('datasets/stream/chunk');
    this.#width = new Width({
      most: context.maxParallel,
      roundTripMs: options.roundTripMs,
      rate: context.lineRate.known(clock.now()),
      now: clock.now(),
    });
  }

  /** How long a chunk may be, as far as is known of the way by now. */
  get #chunkBytes(): number {
    return Math.min(this.#width.chunkBytes, this.#context.passages.limit(this.#url));
  }

  async run(): Promise<ParallelOutcome> {
    const { end } = this.#options;
    const { clock, lineRate } = this.#context;
    const begunAt = clock.now();
    const carriedBefore = lineRate.carried;
    probe(this.#width, this.#options.roundTripMs, this.#context).catch(() => {});
    while (this.#obstacle === undefined && (this.#next < end || this.#lanes.size > 0)) {
      this.#launch();
      // With the window full and nothing under way, an empty chunk waits for room.
      if (this.#lanes.size === 0) await this.#send(this.#next, this.#next);
      else await Promise.race(this.#lanes);
    }
    // All of it together says how fast the line is.
    const now = clock.now();
    lineRate.note({ bytes: lineRate.carried - carriedBefore, ms: now - begunAt, madeMs: 0 }, now);
    return this.#obstacle === undefined ? { kind: 'sent' } : { kind: 'blocked', obstacle: this.#obstacle };
  }

  #launch(): void {
    const { end } = this.#options;
    while (this.#lanes.size < this.#width.value && this.#next < end) {
      if (this.#next >= this.#windowEnd) {
        this.#width.noteHeldBack();
        break;
      }
      const start = this.#next;
      this.#next = Math.min(end, start + this.#chunkBytes);
      const lane = this.#send(start, this.#next).finally(() => this.#lanes.delete(lane));
      // A failure surfaces in the race; one that comes later, when that has ended, must not count as unhandled.
      lane.catch(() => {});
      this.#lanes.add(lane);
    }
  }

  /** Sends one chunk until it is taken in, in shorter ones where something on the way refuses its length. */
  async #send(start: number, end: number): Promise<void> {
    const { clock, signal, passages } = this.#context;
    const patience = new Patience(clock);
    for (let position = start; ; ) {
      const chunkEnd = Math.min(end, position + this.#chunkBytes);
      const chunk = { start: position, end: chunkEnd, encoding: this.#options.plan?.besides, isAlone: false };
      const outcome = await postChunk(this.#options, chunk, this.#context).catch(async (error: unknown) => {
        await patience.wait(error, signal);
        return undefined;
      });
      if (outcome?.kind === 'unmeasured') {
        passages.refuseUnmeasured(this.#url);
        continue;
      }
      if (outcome?.kind === 'blocked') {
        if (passages.narrow(this.#url, chunkEnd - position, outcome.obstacle) !== undefined) continue;
        this.#obstacle ??= outcome.obstacle;
        return;
      }
      if (outcome !== undefined) {
        this.#windowEnd = Math.max(this.#windowEnd, outcome.receipt.window_end ?? 0);
        position = chunkEnd;
        if (position >= end) return;
      }
    }
  }
}
