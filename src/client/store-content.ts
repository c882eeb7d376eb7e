import type { OffloadAnswer } from '../protocol/app.ts';
import { type Content, type Known, readTime } from './content.ts';
import { findGaps, type Span } from './spans.ts';
import { StoreReader, type StoreReaderOptions } from './store-reader.ts';

const MIB = 1024 * 1024;

/** How to download from a store. The URLs are signed, so no token goes there. */
export interface DownloadOptions extends StoreReaderOptions {
  readonly signal?: AbortSignal | undefined;
  /** What is there already. Where it is of the same content, `body` is the rest. */
  readonly known?: Known | undefined;
  /** From this size on the parts of a file are fetched in parallel, in bytes. Default 64 MiB. */
  readonly largeBytes?: number | undefined;
  /** Size of the parts. Default 16 MiB. */
  readonly partBytes?: number | undefined;
  /** How many parts are fetched at once. Default 4. */
  readonly parallel?: number | undefined;
}

/** Takes bytes in that belong at `offset`; resolves when there is room for more. */
export type WriteAt = (bytes: Uint8Array, offset: number) => Promise<void>;

/** A dataset in a store: to be read either in order by `body`, or, where the place it goes to allows, by `writeParts`. */
export interface StoreContent extends Content {
  /** Whether `writeParts` is worth it. */
  readonly isLarge: boolean;
  /**
   * Fetches the parts in parallel, every byte once, each part going on by itself where it broke off. A store without ranges
   * is read in order.
   * @param there what is there already, in order, and is neither fetched nor written. Default nothing.
   * @throws {RelayError} as the body errors.
   */
  writeParts(write: WriteAt, signal?: AbortSignal, there?: readonly Span[]): Promise<void>;
}

/** Whether the content can be fetched in parts. */
export const isStoreContent = (content: Content): content is StoreContent => 'writeParts' in content;

/**
 * The dataset that an offload answer points to. Nothing is fetched before it is read. What breaks off goes on where it
 * was, as long as the store holds the same object.
 */
export function downloadOffloaded(answer: OffloadAnswer, options: DownloadOptions = {}): StoreContent {
  const { signal, known, largeBytes = 64 * MIB, partBytes = 16 * MIB, parallel = 4 } = options;
  const { size, etag } = answer;
  const reader = new StoreReader(answer.download_url, options);
  const offset = known !== undefined && known.etag === etag && known.size === size ? known.offset : 0;
  return {
    size,
    etag,
    offset,
    lastModified: readTime(answer.last_modified),
    isLarge: size !== undefined && size >= largeBytes,
    body: toStream(reader, offset, size, signal),
    digest: () => Promise.resolve(answer.digest),
    ...(answer.on_change !== undefined && { currentSize: () => Promise.resolve(answer.current_size) }),
    writeParts: (write, partsSignal = signal, there = []) =>
      size === undefined
        ? copy(reader.read(0, undefined, partsSignal), 0, write)
        : writeParts(reader, { size, there, partBytes, parallel, signal: partsSignal }, write),
  };
}

function toStream(
  reader: StoreReader,
  offset: number,
  size: number | undefined,
  signal: AbortSignal | undefined,
): ReadableStream<Uint8Array> {
  const stopped = new AbortController();
  const pieces = reader.read(offset, size, signal ? AbortSignal.any([signal, stopped.signal]) : stopped.signal);
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const { done, value } = await pieces.next();
        if (done) controller.close();
        else controller.enqueue(value);
      },
      cancel: (reason) => stopped.abort(reason),
    },
    { highWaterMark: 0 },
  );
}

interface PartsOptions {
  readonly size: number;
  readonly there: readonly Span[];
  readonly partBytes: number;
  readonly parallel: number;
  readonly signal: AbortSignal | undefined;
}

async function writeParts(
  reader: StoreReader,
  { size, there, partBytes, parallel, signal }: PartsOptions,
  write: WriteAt,
): Promise<void> {
  const parts = findGaps(there, [0, size]).flatMap((gap) => cut(gap, partBytes));
  const [begin] = parts;
  if (begin === undefined) return;
  const stopped = new AbortController();
  const inner = signal ? AbortSignal.any([signal, stopped.signal]) : stopped.signal;
  // The first answer says whether there are ranges at all, and which object it is that the others must be parts of.
  const first = await reader.open({ start: begin[0], end: begin[1] }, inner);
  if (!first.isPart) return copy(reader.read(0, size, inner, first.response), 0, skipping(there, write));
  const work = async (response?: Response): Promise<void> => {
    let opened = response;
    for (let part = parts.shift(); part !== undefined; part = parts.shift()) {
      await copy(reader.read(part[0], part[1], inner, opened), part[0], write);
      opened = undefined;
    }
  };
  const workers = Array.from({ length: parallel }, (_, index) => work(index === 0 ? first.response : undefined));
  try {
    await Promise.all(workers);
  } catch (error) {
    stopped.abort(error);
    // Nobody may still be writing when this returns.
    await Promise.allSettled(workers);
    throw error;
  }
}

/** A span in pieces of so many bytes; the last may be shorter. */
function cut([start, end]: Span, bytes: number): Span[] {
  const count = Math.ceil((end - start) / bytes);
  return Array.from({ length: count }, (_, index) => {
    const at = start + index * bytes;
    return [at, Math.min(at + bytes, end)];
  });
}

/** Writes only what is not there. */
function skipping(there: readonly Span[], write: WriteAt): WriteAt {
  return async (bytes, offset) => {
    for (const [start, end] of findGaps(there, [offset, offset + bytes.length])) {
      await write(bytes.subarray(start - offset, end - offset), start);
    }
  };
}

async function copy(pieces: AsyncIterable<Uint8Array>, start: number, write: WriteAt): Promise<void> {
  let offset = start;
  for await (const piece of pieces) {
    await write(piece, offset);
    offset += piece.length;
  }
}
