import { skipping, type WriteAt } from './content.ts';
import { Lanes, type LanesPlan } from './lanes.ts';
import { findGaps, type Span } from './spans.ts';

const MIB = 1024 * 1024;

/** What has come ahead of its turn is held in memory up to this. */
const WINDOW_BYTES = 64 * MIB;

/** Less than this is through before it matters, in bytes. */
const LEAST_BYTES = 16 * MIB;

/** Whether so many bytes are worth more than one connection. */
export const isWorthLanes = (bytes: number): boolean => bytes >= LEAST_BYTES;

/**
 * Gives the bytes from `offset` on in order. One response is read no faster than the reader reads. From far away, parts
 * beside it come as far ahead as the window lets them.
 */
export function readSideBySide(plan: LanesPlan): ReadableStream<Uint8Array> {
  return new ReadableStream<Uint8Array>(new InOrder(plan), { highWaterMark: 0 });
}

/** Writes what is not `there` from a dataset, each part to its place, as it comes. @throws what the reading does. */
export async function writeSideBySide(plan: LanesPlan, write: WriteAt, there: readonly Span[] = []): Promise<void> {
  if (findGaps(there, [plan.offset, plan.size]).length === 0) return plan.first.cancel();
  const take = skipping(there, write);
  const lanes = new Lanes(plan, { there, take });
  try {
    let at = plan.offset;
    for (let bytes = await lanes.readFirst(); bytes !== undefined; bytes = await lanes.readFirst()) {
      const { length } = bytes;
      await take(bytes, at);
      at += length;
    }
    await lanes.finish();
  } catch (error) {
    const { aborted, reason } = lanes.signal;
    await lanes.close(error);
    throw aborted ? reason : error;
  }
}

class InOrder implements UnderlyingDefaultSource<Uint8Array> {
  readonly #plan: LanesPlan;
  /** What has come ahead of its turn, by its place. */
  readonly #pieces = new Map<number, Uint8Array>();
  #at: number;
  #lanes: Lanes | undefined;
  #arrival = Promise.withResolvers<void>();

  constructor(plan: LanesPlan) {
    this.#plan = plan;
    this.#at = plan.offset;
  }

  async pull(controller: ReadableStreamDefaultController<Uint8Array>): Promise<void> {
    // Nobody may ever read.
    const lanes = (this.#lanes ??= this.#open());
    try {
      const bytes = (await lanes.readFirst()) ?? (await this.#next(lanes));
      if (bytes === undefined) {
        await lanes.finish();
        controller.close();
      } else {
        this.#at += bytes.length;
        controller.enqueue(bytes);
        lanes.launch();
      }
    } catch (error) {
      const { aborted, reason } = lanes.signal;
      await lanes.close(error);
      controller.error(aborted ? reason : error);
    }
  }

  async cancel(reason: unknown): Promise<void> {
    this.#pieces.clear();
    await (this.#lanes?.close(reason) ?? this.#plan.first.cancel(reason));
  }

  #open(): Lanes {
    const lanes = new Lanes(this.#plan, {
      hasRoom: ([, end]) => end <= this.#at + WINDOW_BYTES,
      take: async (bytes, offset) => {
        this.#pieces.set(offset, bytes);
        this.#wake();
      },
    });
    lanes.signal.addEventListener('abort', () => this.#wake(), { once: true });
    return lanes;
  }

  #wake(): void {
    this.#arrival.resolve();
    this.#arrival = Promise.withResolvers();
  }

  /** The piece whose turn it is, when it has come; undefined after the last. */
  async #next(lanes: Lanes): Promise<Uint8Array | undefined> {
    while (this.#at < this.#plan.size) {
      const bytes = this.#pieces.get(this.#at);
      if (bytes !== undefined) {
        this.#pieces.delete(this.#at);
        return bytes;
      }
      lanes.signal.throwIfAborted();
      await this.#arrival.promise;
    }
    return undefined;
  }
}
