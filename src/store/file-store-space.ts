import { RelayError } from '../protocol/errors.ts';

interface SpaceOptions {
  /** Most bytes that objects and uploads may take together. */
  readonly maxBytes: number;
  /** Bytes of the disk that stay free for others. */
  readonly minFreeBytes: number;
  /** Bytes that are free on the disk now. */
  readonly readFreeBytes: () => Promise<number>;
  /** Bytes that `evict` could free. */
  readonly countEvictable: () => number;
  /** Removes what can be spared, oldest first, until at least so many bytes are free. */
  readonly evict: (bytes: number) => Promise<void>;
}

/** Bytes that one arriving body, or a part that has arrived, holds in the store. */
export interface Reservation {
  readonly bytes: number;
  /** Takes more. @throws {RelayError} store_full when there is none. */
  grow(bytes: number): Promise<void>;
  /** Says that so many of the reserved bytes are on the disk now. */
  wrote(bytes: number): void;
  /** Gives back what was not written. */
  trim(): void;
  /** Gives back so many of the written bytes, which do not count any more. */
  shrink(bytes: number): void;
  /** Counts what another one has written as its own. The other one is empty then. */
  absorb(other: Reservation): void;
  /** Lets go of what was written without giving it back. @returns how much that is. */
  surrender(): number;
  /** Gives back everything: what was written is gone, or about to go. */
  release(): void;
}

/** Keeps account of the bytes of the store: what is there, and what was promised to bodies that are still arriving. */
export class StoreSpace {
  readonly #options: SpaceOptions;
  #used = 0;
  #unwritten = 0;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(options: SpaceOptions) {
    this.#options = options;
  }

  /** Bytes in use and promised. */
  get used(): number {
    return this.#used;
  }

  /** Counts an object that was there already. */
  count(bytes: number): void {
    this.#used += bytes;
  }

  /** Counts an object out that is gone. */
  free(bytes: number): void {
    this.#used -= bytes;
  }

  /**
   * Reserves space, evicting for it where needed. In order of arrival, so that two bodies cannot have the same bytes.
   * @throws {RelayError} store_full when there is not enough, even with all evicted that can be spared; nothing is evicted then.
   */
  async reserve(bytes: number): Promise<Reservation> {
    await this.#take(bytes);
    return this.#hold(bytes, 0);
  }

  /** Counts bytes that are there already, to be held like those of a body that has arrived. */
  adopt(bytes: number): Reservation {
    this.#used += bytes;
    return this.#hold(bytes, bytes);
  }

  #hold(reserved: number, onDisk: number): Reservation {
    let held = reserved;
    let written = onDisk;
    return {
      get bytes() {
        return held;
      },
      grow: async (more) => {
        await this.#take(more);
        held += more;
      },
      wrote: (count) => {
        written += count;
        this.#unwritten -= count;
      },
      trim: () => {
        this.#give(held - written, held - written);
        held = written;
      },
      shrink: (count) => {
        this.#give(count, 0);
        held -= count;
        written -= count;
      },
      absorb: (other) => {
        const count = other.surrender();
        held += count;
        written += count;
      },
      surrender: () => {
        const count = written;
        this.#give(held - written, held - written);
        held = 0;
        written = 0;
        return count;
      },
      release: () => {
        this.#give(held, held - written);
        held = 0;
        written = 0;
      },
    };
  }

  #give(bytes: number, unwritten: number): void {
    this.#used -= bytes;
    this.#unwritten -= unwritten;
  }

  #take(bytes: number): Promise<void> {
    // An empty body takes nothing, however full the disk is.
    if (bytes === 0) return Promise.resolve();
    const taken = this.#takeAfter(this.#turn, bytes);
    this.#turn = taken.catch(() => undefined);
    return taken;
  }

  async #takeAfter(turn: Promise<unknown>, bytes: number): Promise<void> {
    await turn;
    const missing = await this.#countMissing(bytes);
    if (missing > 0) await this.#makeRoom(bytes, missing);
    this.#used += bytes;
    this.#unwritten += bytes;
  }

  async #makeRoom(bytes: number, missing: number): Promise<void> {
    if (missing > this.#options.countEvictable()) throw this.#full(bytes);
    await this.#options.evict(missing);
    if ((await this.#countMissing(bytes)) > 0) throw this.#full(bytes);
  }

  async #countMissing(bytes: number): Promise<number> {
    const { maxBytes, minFreeBytes, readFreeBytes } = this.#options;
    const overLimit = this.#used + bytes - maxBytes;
    const overDisk = bytes + this.#unwritten + minFreeBytes - (await readFreeBytes());
    return Math.max(overLimit, overDisk);
  }

  #full(bytes: number): RelayError {
    return new RelayError('store_full', `the store has no space for ${bytes} more bytes`);
  }
}
