import type { OpenDataset } from './open.ts';

/** Size of one read, in bytes. Two such buffers serve one transfer. */
export const READ_BYTES = 256 * 1024;

/** Size of the first read, in bytes: the first byte should not wait for many others. And of all reads among many readers. */
const SHORT_BYTES = 64 * 1024;

/** How many readers at once have large buffers: apps that read slowly may be hundreds, and each holds its own. */
const LARGE_READERS = 32;
let readers = 0;

/** Large buffers that are kept for the next transfers: making one costs more than a short transfer's reads. */
const MOST_FREE = 8;
const free: Buffer[] = [];

/** Where the bytes go. */
export interface ReadOptions {
  /** First byte, and the first that is not wanted any more. */
  readonly start: number;
  readonly end: number;
  readonly signal: AbortSignal;
  /** Takes a piece; when it resolves, the piece's memory is used again. The next piece is read meanwhile, not sent. */
  readonly write: (piece: Buffer, position: number) => Promise<void> | void;
}

/**
 * Reads a part of a dataset at the pace at which `write` takes it. Before the last piece is passed on, the file is checked
 * once more, so that the end of a file that changed never gets out.
 * @throws {RelayError} dataset_changed, dataset_unreadable; the signal's reason when it aborts.
 */
export async function readDataset(dataset: OpenDataset, options: ReadOptions): Promise<void> {
  const isLarge = readers < LARGE_READERS;
  const take = (): Buffer =>
    isLarge ? (free.pop() ?? Buffer.allocUnsafeSlow(READ_BYTES)) : Buffer.allocUnsafe(SHORT_BYTES);
  const buffers: [Buffer, Buffer] = [take(), take()];
  readers++;
  try {
    await readThrough(dataset, options, buffers);
    // Where it failed, a read or a write may still be under way in one of them.
    if (isLarge && free.length < MOST_FREE) free.push(...buffers);
  } finally {
    readers--;
  }
}

async function readThrough(
  dataset: OpenDataset,
  { start, end, signal, write }: ReadOptions,
  [first, second]: readonly [Buffer, Buffer],
): Promise<void> {
  let [current, other] = [first, second];
  let writing: Promise<void> | void = undefined;
  let position = start;
  let wanted = SHORT_BYTES;
  while (position < end) {
    signal.throwIfAborted();
    const length = await dataset.read(current, Math.min(wanted, end - position), position);
    wanted = current.length;
    await writing;
    if (position + length === end) await dataset.verify();
    signal.throwIfAborted();
    writing = write(current.subarray(0, length), position);
    // The failure surfaces at the next await; until then it must not count as unhandled.
    writing?.catch(() => {});
    position += length;
    [current, other] = [other, current];
  }
  if (start === end) await dataset.verify();
  await writing;
}
