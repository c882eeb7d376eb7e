import { RelayError } from '../../protocol/errors.ts';
import type { BufferBudget } from '../buffer-budget.ts';
import { freePiece } from '../../http/free-piece.ts';
import type { ByteRange } from '../../http/range.ts';
import { type DatasetFacts, readEnd, readFacts, type Wanted } from '../dataset-answer.ts';
import type { Completion, Sink, TransferMeta } from '../sink.ts';
import { fitPart } from './part.ts';

/** Takes all of a dataset, or of a part, into memory within a budget, which is given back by `release`. */
export class MemorySink implements Sink {
  readonly #budget: BufferBudget;
  readonly #maxBytes: number;
  #pieces: Buffer[] = [];
  /** Room for the whole where its size was announced: the pieces are copied there, so that it is in memory only once. */
  #whole: Buffer | undefined;
  #length = 0;
  #reserved = 0;
  readonly #wanted: Wanted;
  known: DatasetFacts = {};
  contentType: string | undefined;
  /** The part that is taken in; undefined for the whole. */
  range: ByteRange | undefined;
  /** The app was answered without the dataset. */
  isAnswered = false;
  onBegin: () => void = () => {};
  onEnd: (bytes: Buffer) => void = () => {};

  constructor(budget: BufferBudget, maxBytes: number, wanted: Wanted) {
    this.#budget = budget;
    this.#maxBytes = maxBytes;
    this.#wanted = wanted;
  }

  begin(meta: TransferMeta): void {
    const facts = readFacts(meta);
    const { part, admit } = this.#wanted;
    if (admit?.(facts) === false) {
      this.isAnswered = true;
      throw new RelayError('cancelled', 'the app needs nothing of it');
    }
    this.range = fitPart(part, meta.totalSize);
    const size = this.range?.length ?? meta.totalSize;
    if (size !== undefined) {
      if (size > this.#maxBytes) throw tooLargeToBuffer(meta.totalSize, this.#maxBytes);
      this.#reserve(size);
      this.#whole = Buffer.allocUnsafe(size);
    }
    this.known = facts;
    this.contentType = meta.contentType;
    this.onBegin();
  }

  write(bytes: Buffer): boolean {
    if (this.#whole !== undefined) {
      bytes.copy(this.#whole, this.#length);
      process.nextTick(freePiece, bytes);
    } else {
      if (this.#length + bytes.length > this.#maxBytes) throw tooLargeToBuffer(undefined, this.#maxBytes);
      this.#reserve(bytes.length);
      this.#pieces.push(bytes);
    }
    this.#length += bytes.length;
    return true;
  }

  async drained(): Promise<void> {}

  end(completion: Completion): void {
    const bytes = this.#whole ?? Buffer.concat(this.#pieces, this.#length);
    this.#pieces = [];
    this.known.totalSize ??= bytes.length;
    Object.assign(this.known, readEnd(completion));
    this.onEnd(bytes);
  }

  /** What has come until now, which is the caller's from then on; the room for it is given back. */
  takeOut(): Buffer {
    const bytes = this.#whole?.subarray(0, this.#length) ?? Buffer.concat(this.#pieces, this.#length);
    this.release();
    return bytes;
  }

  release(): void {
    this.#budget.release(this.#reserved);
    this.#reserved = 0;
    this.#pieces = [];
    this.#whole = undefined;
  }

  #reserve(bytes: number): void {
    this.#budget.reserve(bytes);
    this.#reserved += bytes;
  }
}

/** The error for a dataset above the ceiling of pattern A. */
export function tooLargeToBuffer(size: number | undefined, limit: number): RelayError {
  const what = size === undefined ? 'the dataset' : `the dataset has ${size} bytes, which`;
  return new RelayError(
    'dataset_too_large',
    `${what} is more than the ${limit} that this router buffers; use request-stream or request-offload`,
    {
      details: { limit, ...(size !== undefined && { size }) },
    },
  );
}
