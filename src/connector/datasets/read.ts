import type { OpenDataset } from './open.ts';

/** Size of one read, in bytes. Two such buffers serve one transfer. */
export const READ_BYTES = 256 * 1024;

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
export async function readDataset(dataset: OpenDataset, { start, end, signal, write }: ReadOptions): Promise<void> {
  const capacity = Math.min(READ_BYTES, end - start);
  let current = Buffer.allocUnsafeSlow(capacity);
  let other = end - start > capacity ? Buffer.allocUnsafeSlow(capacity) : current;
  let writing: Promise<void> | void = undefined;
  let position = start;
  while (position < end) {
    signal.throwIfAborted();
    const length = await dataset.read(current, Math.min(capacity, end - position), position);
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
