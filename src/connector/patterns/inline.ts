import { TELLING_BYTES } from '../../http/line-rate.ts';
import type { DatasetFacts } from '../datasets/facts.ts';
import type { OpenDataset } from '../datasets/open.ts';
import type { RequestContext } from './handler.ts';
import { describeGrowth } from './selection.ts';

/** A part of a dataset that is to go over the link. */
interface InlineOptions {
  readonly dataset: OpenDataset;
  readonly requestId: string;
  /** First byte, and the first that is not sent any more. */
  readonly start: number;
  readonly end: number;
  /** Most bytes of a message, as the command says; undefined where none may be sent. */
  readonly inlineMax: number | undefined;
}

/** Whether a part is short enough for the link: what is longer tells, in a POST of its own, how fast the line is. */
export const isInline = ({ start, end, inlineMax }: InlineOptions): boolean =>
  inlineMax !== undefined && end - start < TELLING_BYTES;

/**
 * Reads a part of a dataset into memory.
 * @throws {RelayError} dataset_changed, dataset_unreadable; the signal's reason when it aborts.
 */
export async function readWhole(
  dataset: OpenDataset,
  { start, end, signal }: { start: number; end: number; signal: AbortSignal },
): Promise<Buffer> {
  const bytes = Buffer.allocUnsafe(end - start);
  let filled = 0;
  while (filled < bytes.length) {
    signal.throwIfAborted();
    filled += await dataset.read(bytes.subarray(filled), bytes.length - filled, start + filled);
  }
  await dataset.verify();
  signal.throwIfAborted();
  return bytes;
}

/** Sends a part over the link, which is first bytes and completion in one. @returns whether the link takes it. */
export function sendInline(
  { dataset, requestId, start, inlineMax = 0 }: InlineOptions,
  bytes: Buffer,
  digest: string | undefined,
  { router, signal }: RequestContext,
): Promise<boolean> {
  const head = {
    request_id: requestId,
    offset: start,
    ...describe(dataset.facts),
    ...describeGrowth(dataset),
    ...(digest !== undefined && { digest }),
  };
  return router.sendInline(head, bytes, inlineMax, signal);
}

const describe = ({ size, etag, contentType, modifiedAt }: DatasetFacts) => ({
  total_size: size,
  etag,
  content_type: contentType,
  ...(modifiedAt !== undefined && { last_modified: modifiedAt.toISOString() }),
});
