import type { Readable } from 'node:stream';
import { passBody } from '../http/body.ts';
import { RelayError } from '../protocol/errors.ts';
import type { Exchange } from './exchange.ts';
import type { Completion, Part, Sink, TransferMeta } from './sink.ts';
import { Window, type WindowBudget } from './window.ts';

/**
 * Puts together what a connector sends for one dataset, or for a part of it: `init`, chunks and `complete`, or one result.
 * Bytes reach the sink in order, each once, and its end only when size and completion agree. Offsets are those in the whole.
 */
export class Transfer {
  readonly #sink: Sink;
  readonly #part: Part;
  /** Whether a part was asked for, be it one that goes from the beginning to the end. */
  readonly isOfPart: boolean;
  #exchange: Exchange | undefined;
  #meta: TransferMeta | undefined;
  #nextOffset: number;
  /** The connector sent a chunk without an offset: then nobody knows what counted of one that breaks off. */
  #sequential = false;
  #chunks = 0;
  #waitedMs = 0;
  /** When the last chunk without an offset was taken whole, on the clock of `performance.now()`. */
  #takenAt = 0;
  #current: { cut(error: RelayError): void } | undefined;
  #completed: Completion | undefined;
  /** Parts may come at once and in any order, where the connector said that it sends so. */
  #window: Window | undefined;

  constructor(sink: Sink, part?: Part) {
    this.#sink = sink;
    this.isOfPart = part !== undefined;
    this.#part = part ?? { offset: 0 };
    this.#nextOffset = this.#part.offset;
  }

  /** Binds the transfer to its exchange, which ends when the transfer does. */
  attach(exchange: Exchange): void {
    this.#exchange = exchange;
  }

  /** Lets go of the body that is arriving, because the exchange has failed. */
  abort(error: RelayError): void {
    this.#current?.cut(error);
    this.#window?.cut(error);
    if (this.#exchange?.ended === true) this.#window?.finish();
  }

  /** Lets parts arrive at once, in any order, within a window. @returns where it ends. */
  openWindow(budget: WindowBudget): number {
    this.#window ??= new Window(
      {
        noteBytes: (count) => this.#exchange?.noteBytes(count),
        nextOffset: () => this.#nextOffset,
        write: (bytes) => {
          const more = this.#write(bytes);
          this.#finishIfComplete();
          return more;
        },
        drained: () => this.#waitForSink(),
      },
      budget,
    );
    return this.#window.end;
  }

  /** Up to where chunks may be sent ahead of their turn; undefined where they may not. */
  get windowEnd(): number | undefined {
    return this.#window?.end;
  }

  get nextOffset(): number {
    return this.#nextOffset;
  }

  /** Bytes that have arrived. */
  get bytesDone(): number {
    return this.#nextOffset - this.#part.offset;
  }

  /** How long it has waited for the sink to take more, in ms; several bodies that wait at once count each. */
  get waitedMs(): number {
    return this.#waitedMs;
  }

  /** Whether anything of an answer has come. */
  get isBegun(): boolean {
    return this.#meta !== undefined;
  }

  /**
   * Where a connector that comes back has to go on, and with which entity tag: then nothing is lost and nothing mixed.
   * Undefined where nobody knows what counted, or whether it would be the same dataset.
   */
  get resumption(): { readonly offset: number; readonly etag: string } | undefined {
    const etag = this.#meta?.etag;
    return etag === undefined || this.#sequential ? undefined : { offset: this.#nextOffset, etag };
  }

  /**
   * The first one fixes size and entity tag; a later one must agree with it.
   * @throws {RelayError} dataset_changed (and the exchange fails) when it does not.
   */
  init(meta: TransferMeta): number {
    if (this.#meta === undefined) {
      this.#begin(meta);
    } else if (this.#sequential) {
      throw this.#broken('a second init came among chunks without offsets');
    } else {
      this.#agree(meta);
    }
    return this.#nextOffset;
  }

  /**
   * Takes a chunk that is in memory.
   * @param begunAt when it began to arrive, on the clock of `performance.now()`: without offsets, two that arrived at once
   * have no order.
   * @returns the next offset, once the sink has room again.
   */
  async chunk(offset: number | undefined, bytes: Buffer, begunAt: number = performance.now()): Promise<number> {
    if (offset === undefined && begunAt < this.#takenAt) throw this.#broken('two chunks without offsets came at once');
    if (offset !== undefined && this.#window !== undefined) {
      this.#admit(this.#window, offset, {});
      await this.#window.take(offset, bytes);
      this.#finishIfComplete();
      return this.#nextOffset;
    }
    const skip = this.#open(offset);
    if (offset === undefined) this.#takenAt = performance.now();
    if (!this.#write(skip === 0 ? bytes : bytes.subarray(skip))) await this.#waitForSink();
    this.#finishIfComplete();
    return this.#nextOffset;
  }

  /**
   * Takes a chunk while it arrives, with back-pressure. @returns the next offset when the body has ended whole.
   * @param length of the body, where it is known.
   * @throws {RelayError} offset_mismatch on a gap; transfer_interrupted when the body breaks off or another takes its place.
   */
  async receive(body: Readable, offset: number | undefined, meta: TransferMeta, length?: number): Promise<number> {
    if (offset === undefined || this.#window === undefined) return this.#receiveInOrder(body, offset, meta);
    this.#admit(this.#window, offset, meta);
    const exchange = this.#exchange as Exchange;
    exchange.arriving++;
    try {
      await this.#window.receive(body, offset, length);
    } finally {
      exchange.arriving--;
    }
    this.#finishIfComplete();
    return this.#nextOffset;
  }

  /** A part may come, and speaks of the same dataset as all others. */
  #admit(window: Window, offset: number, meta: TransferMeta): void {
    this.#exchange?.touch();
    window.check(offset);
    this.#chunks++;
    if (this.#meta === undefined) this.#begin(meta);
    else this.#agree(meta);
  }

  async #receiveInOrder(body: Readable, offset: number | undefined, meta: TransferMeta): Promise<number> {
    // The offset first: what leaves a gap must not begin anything.
    let skip = this.#open(offset);
    if (this.#meta === undefined) this.#begin(meta);
    else this.#agree(meta);
    const exchange = this.#exchange as Exchange;
    exchange.arriving++;
    const current = passBody(
      body,
      (piece) => {
        const bytes = skip === 0 ? piece : piece.subarray(skip);
        skip -= piece.length - bytes.length;
        if (this.#write(bytes)) return;
        current.hold();
        void this.#waitForSink().then(() => current.release());
      },
      () => {
        exchange.arriving--;
        if (this.#current === current) this.#current = undefined;
      },
    );
    this.#current = current;
    try {
      await current.done;
    } catch (thrown) {
      const error = RelayError.from(thrown);
      if (error.code === 'transfer_interrupted' && offset === undefined)
        throw this.#broken('a chunk without an offset broke off');
      throw error;
    }
    this.#finishIfComplete();
    return this.#nextOffset;
  }

  /**
   * Takes a whole dataset, or all of the wanted part, in one body: what an octet-stream result is.
   * @param offset where it begins, if it says so: then it may be sent again, or go on in chunks, where it breaks off.
   * @throws {RelayError} connector_failed (and the exchange fails) when it breaks off and named no offset.
   */
  async receiveWhole(body: Readable, meta: TransferMeta, offset?: number): Promise<number> {
    if (offset === undefined && (this.#meta !== undefined || this.#chunks > 0))
      throw this.#broken('a result came in the middle of a chunked answer');
    const end = await this.receive(body, offset, meta);
    // Of a part the size of the whole is told beside it.
    this.complete(offset === undefined ? end : (meta.totalSize ?? end), meta);
    return end;
  }

  /**
   * Takes a whole dataset, or all of the wanted part, that is in memory.
   * @param offset where it begins, if it says so; without it, it is a whole dataset.
   */
  async takeWhole(bytes: Buffer, meta: TransferMeta, offset?: number): Promise<number> {
    if (offset !== undefined) return this.#takeAt(offset, bytes, meta);
    if (this.#meta !== undefined || this.#chunks > 0)
      throw this.#broken('a result came in the middle of a chunked answer');
    if (this.#part.offset > 0 || this.#part.length !== undefined)
      throw this.#broken('a result, which is a whole dataset, came for a part of one');
    this.#begin({ ...meta, totalSize: bytes.length });
    this.#completed = meta;
    return this.chunk(undefined, bytes);
  }

  async #takeAt(offset: number, bytes: Buffer, meta: TransferMeta): Promise<number> {
    let skip = 0;
    if (this.#window === undefined) {
      skip = this.#open(offset);
      if (this.#meta === undefined) this.#begin(meta);
      else this.#agree(meta);
    } else this.#admit(this.#window, offset, meta);
    const end = offset + bytes.length;
    const totalSize = this.#meta?.totalSize;
    if (end < this.#endOf(totalSize ?? end)) throw this.#broken(`its result ends at ${end}`);
    // Before the bytes, so that their end leaves in one piece with them.
    if (totalSize !== undefined) this.#completed ??= meta;
    if (this.#window === undefined) {
      const more = this.#write(bytes.subarray(skip));
      this.#finishIfComplete();
      if (!more) await this.#waitForSink();
    } else await this.#window.take(offset, bytes);
    this.complete(totalSize ?? end, meta);
    return this.#nextOffset;
  }

  /**
   * The connector says that this was all. One that comes before the last bytes is remembered where the size was announced.
   * @throws {RelayError} invalid_request without any size; connector_failed (and the exchange fails) when the sizes differ.
   */
  complete(totalSize: number | undefined, completion: Completion = {}): number {
    if (this.#window !== undefined && this.#meta?.totalSize === undefined && totalSize !== undefined) {
      // Chunks may still come, and this is the first to say how far.
      if (this.#meta === undefined) this.#begin({ totalSize });
      else this.#meta = { ...this.#meta, totalSize };
    }
    const announced = this.#meta?.totalSize;
    const size = totalSize ?? announced;
    if (size === undefined)
      throw new RelayError('invalid_request', 'field total_size: is needed here, since init gave none');
    if (announced !== undefined && size !== announced) {
      throw this.#broken(`it announced ${announced} bytes and then completed with ${size}`);
    }
    if (this.#nextOffset > size || (announced === undefined && this.#nextOffset < this.#endOf(size))) {
      throw this.#broken(`it completed with ${size} bytes after sending ${this.#nextOffset}`);
    }
    if (this.#meta === undefined) this.#begin({ totalSize: size });
    this.#completed ??= completion;
    if (announced === undefined) this.#end();
    else this.#finishIfComplete();
    return this.#nextOffset;
  }

  /** Checks where a chunk goes. @returns how many of its first bytes are there already. */
  #open(offset: number | undefined): number {
    this.#exchange?.touch();
    if (offset === undefined) {
      if (this.#current !== undefined) throw this.#broken('two chunks without offsets came at once');
      this.#sequential = true;
      this.#chunks++;
      return 0;
    }
    if (offset > this.#nextOffset) {
      throw new RelayError(
        'offset_mismatch',
        `the chunk begins at ${offset}, and ${this.#nextOffset} is the next offset`,
        {
          details: { next_offset: this.#nextOffset },
        },
      );
    }
    this.#current?.cut(new RelayError('transfer_interrupted', 'a newer chunk took the place of this one'));
    this.#chunks++;
    return this.#nextOffset - offset;
  }

  #begin(meta: TransferMeta): void {
    this.#meta = meta;
    this.#exchange?.markAnswering();
    try {
      this.#sink.begin(meta);
    } catch (error) {
      throw this.#fail(RelayError.from(error));
    }
  }

  #agree(meta: TransferMeta): void {
    const { totalSize, etag } = this.#meta as TransferMeta;
    if (differs(totalSize, meta.totalSize) || differs(etag, meta.etag)) {
      throw this.#fail(new RelayError('dataset_changed', 'size or entity tag differ from what was announced first'));
    }
  }

  #write(bytes: Buffer): boolean {
    if (bytes.length === 0) return true;
    if (this.#meta === undefined) this.#begin({});
    const { length } = bytes;
    const end = this.#endOf(this.#meta?.totalSize);
    if (this.#nextOffset + length > end) {
      throw this.#broken(`it sent more than the ${end - this.#part.offset} bytes that it announced or was asked for`);
    }
    this.#exchange?.noteBytes(length);
    if (this.#exchange?.ended) throw new RelayError('request_gone', 'the request has ended');
    let more: boolean;
    try {
      more = this.#sink.write(bytes);
    } catch (error) {
      throw this.#fail(RelayError.from(error));
    }
    this.#nextOffset += length;
    return more;
  }

  async #waitForSink(): Promise<void> {
    this.#exchange?.hold();
    const since = performance.now();
    await this.#sink.drained();
    this.#waitedMs += performance.now() - since;
    this.#exchange?.release();
  }

  #finishIfComplete(): void {
    const size = this.#meta?.totalSize;
    if (this.#completed !== undefined && size !== undefined && this.#nextOffset === this.#endOf(size)) this.#end();
  }

  /** Where the wanted part ends in a dataset of `size` bytes. */
  #endOf(size = Infinity): number {
    const { offset, length = Infinity } = this.#part;
    return Math.min(size, offset + length);
  }

  #end(): void {
    const exchange = this.#exchange as Exchange;
    if (exchange.ended) return;
    this.#sink.end(this.#completed ?? {});
    exchange.succeed();
    this.#window?.finish();
  }

  #broken(why: string): RelayError {
    return this.#fail(new RelayError('connector_failed', `the connector gave an unusable answer: ${why}`));
  }

  #fail(error: RelayError): RelayError {
    this.#exchange?.fail(error);
    return error;
  }
}

/** What only one side has said is no contradiction. */
function differs<T>(first: T | undefined, second: T | undefined): boolean {
  return first !== undefined && second !== undefined && first !== second;
}
