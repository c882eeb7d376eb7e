import { once } from 'node:events';
import type { Writable } from 'node:stream';
import type { Flow } from './pace.ts';

/** What waits to be written, and who is told when it is. */
interface Piece {
  readonly bytes: Buffer;
  readonly onSent: (() => void) | undefined;
}

/** Writes to a stream no faster than its flow may: what waits, waits here, and who writes is to wait for it. */
export class PacedWriter {
  readonly #target: Writable;
  readonly #flow: Flow;
  readonly #onDrain: () => void;
  readonly #closed = new AbortController();
  #pieces: Piece[] = [];
  #ending: { readonly last: Buffer | undefined } | undefined;

  /** @param onDrain called when all is written that was given, and the stream takes more. */
  constructor(target: Writable, flow: Flow, onDrain: () => void) {
    this.#target = target;
    this.#flow = flow;
    this.#onDrain = onDrain;
    target.once('close', () => this.#closed.abort());
  }

  /** Whether something waits. Until `onDrain` nothing more should come. */
  get isBusy(): boolean {
    return this.#pieces.length > 0;
  }

  /** Takes bytes, which are its own from then on. @param onSent called when they are written. */
  write(bytes: Buffer, onSent?: () => void): void {
    this.#pieces.push({ bytes, onSent });
    if (this.#pieces.length === 1) void this.#work();
  }

  /** Ends the stream, with some last bytes, when all is written. */
  end(last: Buffer | undefined): void {
    if (this.isBusy) this.#ending = { last };
    else this.#target.end(last);
  }

  async #work(): Promise<void> {
    try {
      for (let piece = this.#pieces[0]; piece !== undefined; piece = this.#pieces[0]) {
        await this.#pass(piece);
        this.#pieces.shift();
      }
    } catch {
      // The stream is gone, of which all who wrote to it hear by themselves.
      this.#pieces = [];
      return;
    }
    if (this.#ending === undefined) this.#onDrain();
    else this.#target.end(this.#ending.last);
  }

  async #pass({ bytes, onSent }: Piece): Promise<void> {
    const { signal } = this.#closed;
    const { pieceBytes } = this.#flow;
    for (let start = 0; start < bytes.length; start += pieceBytes) {
      const part = bytes.subarray(start, start + pieceBytes);
      await this.#flow.take(part.length, signal);
      const isLast = start + pieceBytes >= bytes.length;
      if (!this.#target.write(part, isLast ? onSent : undefined)) await once(this.#target, 'drain', { signal });
    }
  }
}
