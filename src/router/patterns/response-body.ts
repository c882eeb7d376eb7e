import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Transform } from 'node:stream';
import { createEncoder, isCompressible, isWorthCoding, takeSample } from '../../http/coder.ts';
import type { Coding } from '../../http/content-coding.ts';
import { freePiece } from '../../http/free-piece.ts';
import type { LineRate } from '../../http/line-rate.ts';
import type { Pace } from '../../http/pace.ts';
import { PacedWriter } from '../../http/paced-writer.ts';

/** How much of the first piece is looked at; less than the least goes as it is, in bytes. */
const SAMPLE_BYTES = 64 * 1024;
const LEAST_BYTES = 1024;

/** What is no longer than this may all lie in the buffers of kernels and proxies when the last of it is written, in bytes. */
const BUFFERED_BYTES = 4 * 1024 * 1024;

/** How long bytes may stay in a coder when no more come, in ms: a source may be slow. */
const FLUSH_MS = 100;

/** The body of a response, as it is or coded on the way, at the app's pace. */
export class ResponseBody {
  readonly #response: ServerResponse;
  readonly #line: LineRate;
  readonly #pace: Pace | undefined;
  readonly #paced: PacedWriter | undefined;
  /** Bodies that wait for the app to read: a resent chunk may wait beside the one that it repeats. */
  readonly #waiting: (() => void)[] = [];
  #encoder: Transform | undefined;
  #flushing: NodeJS.Timeout | undefined;
  #sent = 0;
  #begunAt = 0;
  /** What the line had carried then. */
  #carriedBefore = 0;
  /** How long the line had something to carry, in ms, and since when it has. */
  #busyMs = 0;
  #busySince: number | undefined;

  /**
   * @param line that to the app, which learns how fast it is.
   * @param pace at which the app may be sent datasets, all together; by default there is none.
   */
  constructor(response: ServerResponse, line: LineRate, pace?: Pace) {
    this.#response = response;
    this.#line = line;
    this.#pace = pace;
    const goOn = (): void => {
      this.#noteIdle();
      this.#encoder?.resume();
      this.#wakeUp();
    };
    this.#paced = pace && new PacedWriter(response, pace.open(), goOn);
    response.on('drain', () => {
      if (this.#paced?.isBusy !== true) goOn();
    });
    response.on('finish', () => {
      this.#noteIdle();
      if (this.#sent < BUFFERED_BYTES) return;
      const ms = performance.now() - this.#begunAt;
      line.note({ bytes: line.carried - this.#carriedBefore, ms, madeMs: ms - this.#busyMs }, performance.now());
    });
    response.on('close', () => {
      clearTimeout(this.#flushing);
      this.#encoder?.destroy();
      this.#wakeUp();
    });
  }

  /** Whether it keeps to a pace, so that all of it has to be written here. */
  get isPaced(): boolean {
    return this.#paced !== undefined;
  }

  /** Whether content that begins so is worth coding on this line. Where nobody knows the line, who asked for it gets it. */
  isWorthCoding(coding: Coding, beginning: Buffer): boolean {
    if (beginning.length < LEAST_BYTES) return false;
    const sample = takeSample(coding, beginning.subarray(0, SAMPLE_BYTES));
    const known = this.#line.atLeast(performance.now());
    const rate = Math.min(known, this.#pace?.bytesPerMs ?? Infinity);
    return isCompressible(sample) && (rate === 0 || isWorthCoding(sample, rate));
  }

  /** Codes what is written from now on. To be called before the first byte. */
  encode(coding: Coding): void {
    const encoder = createEncoder({ coding, effort: 'quick' });
    this.#encoder = encoder;
    encoder.on('data', (piece: Buffer) => {
      if (!this.#send(piece)) encoder.pause();
    });
    encoder.on('drain', () => this.#wakeUp());
    encoder.on('end', () => this.#finish(undefined));
    encoder.on('error', () => this.#response.destroy());
  }

  /** Takes bytes, which are its own from then on. @returns false when it wants no more until `drained`. */
  write(bytes: Buffer): boolean {
    const encoder = this.#encoder;
    if (encoder === undefined) return this.#send(bytes, () => freePiece(bytes));
    this.#flushing?.refresh();
    this.#flushing ??= setTimeout(() => {
      if (!encoder.destroyed && !encoder.writableEnded) (encoder as unknown as { flush(): void }).flush();
    }, FLUSH_MS);
    return encoder.write(bytes, () => freePiece(bytes));
  }

  /** Resolves when it takes bytes again, or will never. */
  async drained(): Promise<void> {
    const target = this.#encoder ?? this.#response;
    const isFull = target.writableNeedDrain || (this.#encoder === undefined && this.#paced?.isBusy === true);
    if (this.#response.destroyed || !isFull) return;
    await new Promise<void>((resolve) => {
      this.#waiting.push(resolve);
    });
  }

  /** @param last bytes that were kept back until it was sure that they are the last. */
  end(last: Buffer | undefined): void {
    clearTimeout(this.#flushing);
    if (this.#encoder === undefined) this.#finish(last);
    else this.#encoder.end(last);
  }

  #finish(last: Buffer | undefined): void {
    if (this.#paced === undefined) this.#response.end(last);
    else this.#paced.end(last);
  }

  #send(piece: Buffer, onSent?: () => void): boolean {
    if (this.#sent === 0) {
      this.#begunAt = performance.now();
      this.#carriedBefore = this.#line.carried;
    }
    this.#sent += piece.length;
    this.#line.carried += piece.length;
    const more = this.#paced === undefined && this.#response.write(piece, onSent);
    this.#paced?.write(piece, onSent);
    if (!more) this.#busySince ??= performance.now();
    return more;
  }

  #noteIdle(): void {
    if (this.#busySince !== undefined) this.#busyMs += performance.now() - this.#busySince;
    this.#busySince = undefined;
  }

  #wakeUp(): void {
    for (const resume of this.#waiting.splice(0)) resume();
  }
}

/** Whether a client takes no body of which nobody knows the length (RFC 9112 §6.1). */
export const isHttp10 = ({ httpVersionMajor, httpVersionMinor }: IncomingMessage): boolean =>
  httpVersionMajor === 1 && httpVersionMinor === 0;
