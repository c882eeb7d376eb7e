/** From which round trip on several connections carry more than one, in ms: below it one fills any line. */
export const FAR_MS = 15;

/** How many chunks are under way at once at first, and at least. */
const FIRST = 8;
const LEAST = 2;

/** A chunk takes about so long, in ms: long enough that the wait for its answer costs little, and no longer than it must hold up others. */
const CHUNK_MS = 500;
const LEAST_CHUNK_BYTES = 256 * 1024;
const MOST_CHUNK_BYTES = 2 * 1024 * 1024;

/** Round trips that are longer than the way by this part of it wait in a queue: the line is full. */
const FULL = 0.1;
/** As long again: the queue is nothing but delay. */
const DEEP = 1;

/** How many decisions in a row must see no queue for a wider transfer, and how many once the line was full: a lull is no room. */
const CLEAR = 2;
const CLEAR_AGAIN = 8;

/** By how much more than before has to come for the connections to be still on their way up, as new ones are. */
const STILL_GROWING = 1.1;
/** What a narrower transfer has to bring to be kept. */
const GOOD_ENOUGH = 0.9;

/** How long what is sent is counted for a decision, in round trips: several measurements fall into it. */
const DECIDE_EVERY = 4;
/** After so many also where hardly anything got through. */
const DECIDE_ANYWAY = 12;

/**
 * How many chunks to send or fetch side by side, and how long they are: rate times delay. While round trips are as short as the way is,
 * no queue has formed, so that the line takes more than the connections bring, and there are more of them. A connection that is
 * opened into a full line stays slow for seconds (its slow start ends at the first delay, RFC 9406), and all that came after its
 * chunk waits for it; so no more are opened once round trips become longer, and fewer are used where they double.
 */
export class Width {
  readonly #most: number;
  readonly #roundTripMs: number;
  #value: number;
  #chunkBytes: number;
  #hasFilled = false;
  /** Decisions in a row that saw no queue. */
  #clear = 0;
  #isHeldBack = false;
  /** Those since the last decision, in ms. */
  #roundTrips: number[] = [];
  #rate = 0;
  /** What there was before it became narrower. */
  #wider: { readonly value: number; readonly rate: number } | undefined;
  #least = LEAST;
  #bytes = 0;
  #pieces = 0;
  #since: number;

  /**
   * @param options.most chunks at once.
   * @param options.roundTripMs the shortest that there was, in ms.
   * @param options.rate of the line as far as it is known, in bytes a millisecond.
   * @param options.now in ms, as for `note`.
   */
  constructor(options: { most: number; roundTripMs: number; rate: number | undefined; now: number }) {
    this.#most = options.most;
    this.#roundTripMs = options.roundTripMs;
    this.#value = Math.min(FIRST, options.most);
    this.#chunkBytes = chooseChunkBytes(options.rate ?? Infinity, this.#value);
    this.#since = options.now;
  }

  /** How many chunks to have under way at once. */
  get value(): number {
    return this.#value;
  }

  /** How long the next one should be, in bytes. */
  get chunkBytes(): number {
    return this.#chunkBytes;
  }

  /** The line carried a piece of a chunk. */
  note(bytes: number, now: number): void {
    this.#bytes += bytes;
    this.#pieces++;
    const roundTrips = (now - this.#since) / this.#roundTripMs;
    // Long enough that every connection has its share in it.
    if (roundTrips < (this.#pieces < this.#value ? DECIDE_ANYWAY : DECIDE_EVERY)) return;
    this.#decide(this.#bytes / (now - this.#since));
    this.#bytes = 0;
    this.#pieces = 0;
    this.#since = now;
    this.#roundTrips = [];
    this.#isHeldBack = false;
  }

  /** A round trip beside the chunks took so long. */
  noteRoundTrip(ms: number): void {
    this.#roundTrips.push(ms);
  }

  /** Fewer chunks were under way than there might be, since the other side takes no more. */
  noteHeldBack(): void {
    this.#isHeldBack = true;
  }

  #decide(rate: number): void {
    const chunkBytes = chooseChunkBytes(rate, this.#value);
    // Longer chunks bring more by the connections that there are.
    const isGrowing = rate > this.#rate * STILL_GROWING || chunkBytes > this.#chunkBytes;
    this.#chunkBytes = chunkBytes;
    this.#rate = rate;
    const wider = this.#wider;
    this.#wider = undefined;
    if (wider !== undefined && rate < wider.rate * GOOD_ENOUGH) {
      // Then it was no queue: the way itself has become longer.
      this.#value = wider.value;
      this.#least = wider.value;
      return;
    }
    // A single one may have been lost and sent again.
    if (this.#roundTrips.length < 2) return;
    const sorted = this.#roundTrips.toSorted((a, b) => a - b);
    const [shortest = 0] = sorted;
    const usual = sorted[Math.floor(sorted.length / 2)] as number;
    if (usual > this.#roundTripMs * (1 + FULL)) {
      this.#hasFilled = true;
      this.#clear = 0;
      if (shortest > this.#roundTripMs * (1 + DEEP)) this.#narrow(rate);
    } else if (!isGrowing && !this.#isHeldBack && ++this.#clear >= (this.#hasFilled ? CLEAR_AGAIN : CLEAR)) {
      this.#clear = 0;
      this.#value = Math.min(this.#most, this.#hasFilled ? this.#value + 1 : Math.ceil(this.#value * 1.5));
    }
  }

  #narrow(rate: number): void {
    const value = Math.max(this.#least, Math.floor(this.#value * 0.75));
    if (value === this.#value) return;
    this.#wider = { value: this.#value, rate };
    this.#value = value;
  }
}

/** As long as one of `width` connections takes `CHUNK_MS` for, within bounds. */
function chooseChunkBytes(rate: number, width: number): number {
  const bytes = Math.round((rate / width) * CHUNK_MS);
  return Math.max(LEAST_CHUNK_BYTES, Math.min(MOST_CHUNK_BYTES, bytes));
}
