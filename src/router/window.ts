import type { Readable } from 'node:stream';
import { type Passing, passBody } from '../http/body.ts';
import { RelayError } from '../protocol/errors.ts';

/**
 * How far ahead of its turn a byte may arrive, in bytes: enough for a line of 1 Gbit/s and 80 ms with room for what comes
 * out of order, and the most that one transfer makes the router hold.
 */
const WINDOW_BYTES = 32 * 1024 * 1024;

/** How much of the part whose turn it is may wait for a sink that is full, in bytes. */
const HEAD_BYTES = 128 * 1024;

/** How long an answer may be held back until there is room again, in ms: proxies end answers after 60 s. */
const ANSWER_WITHIN_MS = 20_000;

/** What all windows of a router may hold together. It is soft by one piece a body: what comes next is always taken. */
export class WindowBudget {
  readonly #limit: number;
  used = 0;

  /** @param limit in bytes. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  get isFull(): boolean {
    return this.used >= this.#limit;
  }

  /** Which part of it is taken: 0 for nothing, 1 for all. */
  get share(): number {
    return this.#limit === 0 ? 0 : this.used / this.#limit;
  }
}

/** The transfer that a window is a part of. */
interface WindowHost {
  /** Told of each piece that arrives, also ahead of its turn. */
  readonly noteBytes: (count: number) => void;
  readonly nextOffset: () => number;
  /** Takes the bytes at `nextOffset`. @returns false when no more are wanted until `drained`. @throws {RelayError} */
  readonly write: (bytes: Buffer) => boolean;
  readonly drained: () => Promise<void>;
}

/** A stretch of the dataset that arrived, or is arriving. Its pieces are those that wait for their turn. */
interface Run {
  readonly start: number;
  /** Where its body will end, as far as that is known. */
  readonly limit: number;
  end: number;
  pending: number;
  readonly pieces: Buffer[];
  /** Its body, for as long as that arrives. */
  passing: Passing | undefined;
}

/**
 * Takes in several parts of one dataset at once, and passes their bytes on in order. What arrives ahead of its turn is held,
 * up to a bound; beyond it its sender is held back. The part whose turn it is is never held back for that, so that there is
 * always a way on.
 */
export class Window {
  readonly #host: WindowHost;
  readonly #budget: WindowBudget;
  #runs: Run[] = [];
  #highest = 0;
  #isSinkBusy = false;
  #isOver = false;
  #waiting: (() => void)[] = [];

  constructor(host: WindowHost, budget: WindowBudget) {
    this.#host = host;
    this.#budget = budget;
  }

  /** Up to where parts may be sent. */
  get end(): number {
    return Math.min(this.#host.nextOffset() + WINDOW_BYTES, Number.MAX_SAFE_INTEGER);
  }

  /** Whether a part may begin here. @throws {RelayError} offset_mismatch beyond the window. */
  check(offset: number): void {
    if (offset < this.end) return;
    throw new RelayError(
      'offset_mismatch',
      `the chunk begins at ${offset}, beyond the window, which ends at ${this.end}`,
      {
        details: { next_offset: this.#host.nextOffset(), window_end: this.end },
      },
    );
  }

  /**
   * Takes a part while it arrives; one that overlaps another that is still arriving takes its place. Resolves when it is
   * all here and there is room for more, and the sink has it where it is its turn; or after 20 s.
   * @param length of the body, in bytes, where it is known.
   * @throws {RelayError} transfer_interrupted when it breaks off or another takes its place; what the sink throws.
   */
  async receive(body: Readable, offset: number, length?: number): Promise<void> {
    const run = this.#open(offset, length === undefined ? undefined : offset + length);
    run.passing = passBody(
      body,
      (piece) => this.#take(run, piece),
      () => {
        run.passing = undefined;
        this.#tidy();
      },
    );
    await run.passing.done;
    await this.#untilTaken(run);
  }

  /** Takes a part that is in memory. Resolves as `receive` does. */
  async take(offset: number, bytes: Buffer): Promise<void> {
    const run = this.#open(offset, offset + bytes.length);
    if (bytes.length > 0) this.#take(run, bytes);
    this.#tidy();
    await this.#untilTaken(run);
  }

  /** Lets go of every body that is arriving, and of what waits for its turn. */
  cut(error: RelayError): void {
    this.#drop();
    const cut = this.#runs;
    this.#runs = [];
    for (const { passing } of cut) passing?.cut(error);
    this.#highest = 0;
    this.#wake();
  }

  /** All is there: bodies that are still arriving may end, since one of them brought the last byte. */
  finish(): void {
    this.#isOver = true;
    this.#drop();
    for (const { passing } of this.#runs) passing?.release();
    this.#wake();
  }

  #drop(): void {
    for (const run of this.#runs) {
      this.#budget.used -= run.pending;
      run.pending = 0;
      run.pieces.length = 0;
    }
  }

  #open(start: number, limit: number | undefined): Run {
    for (const other of this.#runs) {
      if (start >= other.start && start < other.limit) {
        other.passing?.cut(new RelayError('transfer_interrupted', 'a newer chunk took the place of this one'));
      }
    }
    const run: Run = { start, limit: limit ?? start + 1, end: start, pending: 0, pieces: [], passing: undefined };
    this.#runs.push(run);
    return run;
  }

  #take(run: Run, piece: Buffer): void {
    this.#host.noteBytes(piece.length);
    const next = this.#host.nextOffset();
    const position = run.end;
    run.end += piece.length;
    this.#highest = Math.max(this.#highest, run.end);
    // What is there already is skipped.
    if (run.end <= next) return;
    if (position <= next && run.pending === 0 && !this.#isSinkBusy) {
      this.#write(position < next ? piece.subarray(next - position) : piece);
      this.#pump();
    } else {
      run.pieces.push(piece);
      run.pending += piece.length;
      this.#budget.used += piece.length;
    }
    this.#throttle(run);
  }

  #write(bytes: Buffer): void {
    if (this.#host.write(bytes)) return;
    this.#isSinkBusy = true;
    void this.#host.drained().then(() => {
      this.#isSinkBusy = false;
      try {
        this.#pump();
      } catch {
        // The transfer has failed, and who sends finds out by its next piece.
      }
    });
  }

  /** Passes on what has its turn, and lets those go on who were held back. */
  #pump(): void {
    for (let run = this.#findHead(); run !== undefined && !this.#isSinkBusy; run = this.#findHead()) {
      const position = run.end - run.pending;
      const piece = run.pieces.shift() as Buffer;
      run.pending -= piece.length;
      this.#budget.used -= piece.length;
      const skip = this.#host.nextOffset() - position;
      if (skip < piece.length) this.#write(skip > 0 ? piece.subarray(skip) : piece);
    }
    this.#tidy();
    for (const run of this.#runs) this.#throttle(run);
    this.#wake();
  }

  /** The run that holds the byte whose turn it is, or older ones. */
  #findHead(): Run | undefined {
    return this.#runs.find((run) => run.pending > 0 && this.#isHead(run));
  }

  #isHead({ end, pending }: Run): boolean {
    return end - pending <= this.#host.nextOffset();
  }

  /** Holds a sender back, or lets it go on. */
  #throttle(run: Run): void {
    const { passing } = run;
    if (passing === undefined) return;
    const mustWait = this.#isHead(run)
      ? this.#isSinkBusy && run.pending >= HEAD_BYTES
      : run.end >= this.end || this.#budget.isFull;
    if (mustWait) passing.hold();
    else passing.release();
  }

  #tidy(): void {
    this.#runs = this.#runs.filter((run) => run.passing !== undefined || run.pending > 0);
  }

  async #untilTaken(run: Run): Promise<void> {
    const until = performance.now() + ANSWER_WITHIN_MS;
    // Who sends one part after the other would send what waits here again.
    const waits = (): boolean => this.#isHead(run) && run.pending > 0;
    while (!this.#isOver && (this.#highest >= this.end || waits())) {
      const leftMs = until - performance.now();
      if (leftMs <= 0) return;
      let timer: NodeJS.Timeout | undefined;
      await new Promise<void>((resolve) => {
        this.#waiting.push(resolve);
        timer = setTimeout(resolve, leftMs);
      });
      clearTimeout(timer);
    }
  }

  #wake(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}
