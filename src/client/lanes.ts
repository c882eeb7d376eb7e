import { Width } from '../http/width.ts';
import { type ErrorCode, RelayError } from '../protocol/errors.ts';
import type { WriteAt } from './content.ts';
import { pause } from './pause.ts';
import { isFinal } from './resume.ts';
import { type PartOnItsWay, SlowParts } from './slow-parts.ts';
import { addSpan, findGaps, type Span } from './spans.ts';

/** What a dataset is fetched from: one response that has begun, and parts of it by responses of their own. */
export interface LanesPlan {
  /** The bytes from `offset` on to the end of the whole, never ahead of the reader. */
  readonly first: ReadableStream<Uint8Array>;
  readonly offset: number;
  /** Of the whole, in bytes. */
  readonly size: number;
  /** How many responses at most. */
  readonly most: number;
  readonly signal: AbortSignal | undefined;
  /** The round trip in ms where it is long enough for more than one to be worth it. Asked again after the first part's head. */
  readonly whereFar: (signal: AbortSignal) => Promise<number | undefined>;
  /**
   * Opens a part, of the same dataset and no other, that goes on by itself where it breaks off.
   * @param failure why it could not be opened just now: it is asked for again after a pause, and again, for a while.
   * @returns undefined where parts cannot be had by themselves.
   */
  readonly openPart: (
    span: Span,
    signal: AbortSignal,
    failure?: RelayError,
  ) => Promise<ReadableStream<Uint8Array> | undefined>;
  /** A question that the router answers at once: how long that takes tells of queues on the way. */
  readonly ask: (signal: AbortSignal) => Promise<unknown>;
  /** Told once, when the first response is no longer all there is. Never rejects. */
  readonly onWide: (signal: AbortSignal) => Promise<unknown>;
}

/** How the bytes of parts are taken, and when. */
export interface LanesUse {
  /** What is there already, in order. */
  readonly there?: readonly Span[];
  readonly take: WriteAt;
  /** Whether there is room for a part. Default always. */
  readonly hasRoom?: (span: Span) => boolean;
}

/** The router has enough to do, so that fewer at once are all that it takes. */
const REFUSALS: ReadonlySet<ErrorCode> = new Set(['too_many_requests', 'overloaded']);

/** Length of the first part, in bytes, and least distance of it from where the first response is by then. */
const FIRST_PART_BYTES = 2 * 1024 * 1024;

/** A part has to be asked for, while a chunk leaves by itself: twice as long, it waits half as much. */
const CHUNKS_A_PART = 2;

/** How often one part is asked for again because it is slow: what stands still for another reason is left its patience. */
const MAX_AGAIN = 3;

/**
 * Reads one response, and beside it, where that is worth it, parts further on over connections of their own; then lets go
 * of the first. A first part is asked for by itself, since only its answer says whether parts can be had.
 */
export class Lanes {
  readonly #plan: LanesPlan;
  readonly #use: LanesUse;
  readonly #first: ReadableStreamDefaultReader<Uint8Array>;
  readonly #stop = new AbortController();
  readonly #signal: AbortSignal;
  readonly #running = new Set<Lane>();
  readonly #slow = new SlowParts(this.#running);
  #waiting: Span[] = [];
  #width: Width | undefined;
  #most: number;
  #roundTripMs = 0;
  /** How far the first response has been read, and up to where it will be. */
  #firstAt: number;
  #firstEnd: number;
  #isFirstOver = false;
  readonly #widening: Promise<void>;
  #beside: Promise<unknown> | undefined;

  constructor(plan: LanesPlan, use: LanesUse) {
    this.#plan = plan;
    this.#use = use;
    this.#first = plan.first.getReader();
    this.#signal = plan.signal ? AbortSignal.any([plan.signal, this.#stop.signal]) : this.#stop.signal;
    this.#most = plan.most;
    this.#firstAt = plan.offset;
    this.#firstEnd = plan.size;
    this.#widening = this.#widen();
  }

  /** Fires, with the reason, when nothing more will come. */
  get signal(): AbortSignal {
    return this.#signal;
  }

  /** The next bytes of the first response; undefined when it is at its end, or the parts go on from there. */
  async readFirst(): Promise<Uint8Array | undefined> {
    if (this.#isFirstOver) return undefined;
    const { done, value } = await this.#first.read();
    this.#signal.throwIfAborted();
    if (done) {
      this.#endFirst();
      return undefined;
    }
    const room = this.#firstEnd - this.#firstAt;
    // What is whole stays so, since its memory can be given back.
    const bytes = value.length <= room ? value : value.subarray(0, room);
    this.#firstAt += bytes.length;
    this.#width?.note(bytes.length, performance.now());
    if (this.#firstAt === this.#firstEnd && this.#firstEnd < this.#plan.size) this.#endFirst();
    return bytes;
  }

  /** Starts as many parts as there should be and there is room for. */
  launch(): void {
    while (this.#active < this.#wanted && !this.#signal.aborted) {
      const span = this.#next();
      if (span === undefined) break;
      this.#start(span);
    }
    this.#watch();
  }

  /** Resolves when all parts have come. @throws what ended them. */
  async finish(): Promise<void> {
    while (this.#running.size > 0) await Promise.race(Array.from(this.#running, ({ done }) => done));
    this.#signal.throwIfAborted();
  }

  /** Ends what is under way; resolves when nobody is taking bytes any more. */
  async close(reason: unknown): Promise<void> {
    this.#stop.abort(reason);
    this.#watch();
    const parts = Array.from(this.#running, ({ done }) => done);
    await Promise.allSettled([this.#first.cancel(reason), this.#widening, ...parts]);
    await this.#beside;
  }

  get #active(): number {
    return this.#running.size + (this.#isFirstOver ? 0 : 1);
  }

  get #wanted(): number {
    return Math.min(this.#width?.value ?? 0, this.#most);
  }

  /** The next part, as long as it should be; undefined where there is none, or no room for it. */
  #next(): Span | undefined {
    const [gap] = this.#waiting;
    if (gap === undefined || this.#width === undefined) return undefined;
    const span: Span = [gap[0], Math.min(gap[1], gap[0] + CHUNKS_A_PART * this.#width.chunkBytes)];
    if (this.#use.hasRoom?.(span) === false) {
      this.#width.noteHeldBack();
      return undefined;
    }
    this.#waiting = findGaps([span], gap).concat(this.#waiting.slice(1));
    return span;
  }

  #endFirst(): void {
    this.#isFirstOver = true;
    void this.#first.cancel().catch(() => undefined);
    this.launch();
  }

  async #widen(): Promise<void> {
    const { size, most, whereFar, openPart, onWide } = this.#plan;
    const { there = [] } = this.#use;
    let opened: ReadableStream<Uint8Array> | undefined;
    try {
      if ((await whereFar(this.#signal)) === undefined) return;
      // Not what the first response may have reached by then.
      const [gap] = findGaps(there, [Math.min(size, this.#firstAt + 2 * FIRST_PART_BYTES), size]);
      if (gap === undefined) return;
      const span: Span = [gap[0], Math.min(gap[1], gap[0] + FIRST_PART_BYTES)];
      opened = await openPart(span, this.#signal);
      const roundTripMs = await whereFar(this.#signal);
      this.#signal.throwIfAborted();
      const [next] = findGaps(there, [this.#firstAt, size]);
      if (opened === undefined || roundTripMs === undefined || next === undefined || this.#isFirstOver) return;
      this.#firstEnd = Math.min(this.#firstAt + FIRST_PART_BYTES, next[1]);
      const isAhead = span[0] >= this.#firstEnd;
      const taken = isAhead ? addSpan(there, span) : there;
      this.#waiting = findGaps(taken, [this.#firstEnd, size]);
      this.#roundTripMs = roundTripMs;
      this.#width = new Width({ most, roundTripMs, rate: undefined, now: performance.now() });
      this.#probe(this.#width).catch(() => undefined);
      this.#beside = onWide(this.#signal);
      if (isAhead) {
        this.#start(span, opened);
        opened = undefined;
      }
      this.launch();
    } catch {
      // Then the first response brings all of it, or says itself what is wrong.
    } finally {
      await opened?.cancel().catch(() => undefined);
    }
  }

  /** Measures, for as long as there are parts, whether what comes waits in a queue on its way. */
  async #probe(width: Width): Promise<void> {
    while (!this.#signal.aborted && (this.#waiting.length > 0 || this.#running.size > 0)) {
      await pause(this.#roundTripMs, this.#signal);
      const askedAt = performance.now();
      await this.#plan.ask(this.#signal);
      width.noteRoundTrip(performance.now() - askedAt);
    }
  }

  #start(span: Span, opened?: ReadableStream<Uint8Array>): void {
    const ended = Promise.withResolvers<void>();
    const lane = new Lane(span, ended.promise);
    this.#running.add(lane);
    void this.#run(lane, opened)
      .catch((error: unknown) => {
        this.#stop.abort(error);
        // Whoever waits for its next bytes waits no longer.
        void this.#first.cancel(error).catch(() => undefined);
      })
      .finally(() => {
        this.#running.delete(lane);
        this.launch();
        ended.resolve();
      });
  }

  async #run(lane: Lane, opened: ReadableStream<Uint8Array> | undefined): Promise<void> {
    for (let stream = opened; lane.at < lane.end; stream = undefined) {
      lane.begin();
      stream ??= await this.#open([lane.at, lane.end]);
      if (stream === undefined) return;
      await lane.read(stream, async (bytes, offset) => {
        this.#signal.throwIfAborted();
        const { length } = bytes;
        await this.#use.take(bytes, offset);
        this.#width?.note(length, performance.now());
      });
    }
    this.#slow.note(lane);
  }

  /** Looks after slow parts while others wait for them, since there is no room, or nothing else to fetch. */
  #watch(): void {
    const isHeldUp = this.#isFirstOver && this.#running.size > 0 && this.#running.size < this.#wanted;
    if (isHeldUp && !this.#signal.aborted) this.#slow.watch(this.#roundTripMs);
    else this.#slow.stop();
  }

  /** @returns undefined where the part has to wait until others are through. */
  async #open(span: Span): Promise<ReadableStream<Uint8Array> | undefined> {
    const { openPart } = this.#plan;
    try {
      return (await openPart(span, this.#signal)) ?? refuse();
    } catch (error) {
      this.#signal.throwIfAborted();
      if (!(error instanceof RelayError) || !error.retryable || isFinal(error)) throw error;
      if (!REFUSALS.has(error.code) || this.#active === 1) return openPart(span, this.#signal, error);
      this.#most = this.#active - 1;
      this.#waiting = addSpan(this.#waiting, span);
      return undefined;
    }
  }
}

/** A part under way. */
class Lane implements PartOnItsWay {
  /** Resolves when it has ended, whichever way. */
  readonly done: Promise<void>;
  readonly end: number;
  /** The next byte to come. */
  at: number;
  begunAt = 0;
  bytes = 0;
  #again = 0;
  #reader: ReadableStreamDefaultReader<Uint8Array> | undefined;

  constructor([start, end]: Span, done: Promise<void>) {
    this.at = start;
    this.end = end;
    this.done = done;
  }

  /** It is asked for, from where it is. */
  begin(): void {
    this.begunAt = performance.now();
    this.bytes = 0;
  }

  /** Reads a response to its end, or until it is let go of. */
  async read(stream: ReadableStream<Uint8Array>, take: WriteAt): Promise<void> {
    const reader = stream.getReader();
    this.#reader = reader;
    try {
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        const { length } = value;
        await take(value, this.at);
        this.at += length;
        this.bytes += length;
      }
    } finally {
      this.#reader = undefined;
      await reader.cancel().catch(() => undefined);
    }
  }

  askAgain(): void {
    if (this.#reader === undefined || this.#again === MAX_AGAIN) return;
    this.#again += 1;
    void this.#reader.cancel().catch(() => undefined);
  }
}

function refuse(): never {
  throw new RelayError('connector_failed', 'the parts of the dataset cannot be had by themselves any more', {
    details: { retryable: true },
  });
}
