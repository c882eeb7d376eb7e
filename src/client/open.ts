import { encodeDatasetPath } from '../protocol/dataset-name.ts';
import { parseContentRange } from '../http/range.ts';
import { RelayError } from '../protocol/errors.ts';
import type { Content } from './content.ts';
import { type DatasetResponse, readDatasetResponse, type ResponseContext } from './dataset-response.ts';
import { requireMinAge, toMinAge } from './min-age.ts';
import { createSha256 } from './sha256.ts';
import type { VersionOptions } from './subject.ts';

/** Which bytes of a dataset to open, and how they are checked. */
export interface OpenOptions extends VersionOptions {
  readonly signal?: AbortSignal | undefined;
  /** Where to begin, in bytes. Default 0. */
  readonly offset?: number | undefined;
  /** How many bytes, from 1; fewer come where the dataset ends before. Default all from `offset` on. */
  readonly length?: number | undefined;
  /**
   * Only of this version: its strong entity tag, with its quotes; with `onChange`, which of its beginnings. Default whatever
   * is there.
   */
  readonly etag?: string | undefined;
  /**
   * Compare a whole dataset with the digest that its node gives; the reading ends with `content_mismatch` where they differ.
   * A part is told by nobody. Default true.
   */
  readonly verify?: boolean | undefined;
  /** End with `unverified` what could not be compared, parts too. Default false. */
  readonly requireDigest?: boolean | undefined;
  /** Told when the bytes broke off after `offset` of them, before they go on from there. */
  readonly onInterruption?: ((error: RelayError, offset: number) => void) | undefined;
}

/** A dataset that is being read, by `body` or by iterating, once. Whoever does not come to the end must cancel or break off. */
export interface OpenedDataset extends DatasetResponse, AsyncIterable<Uint8Array> {}

const isCount = (value: number, least: number): boolean => Number.isSafeInteger(value) && value >= least;

/** Asks for a part of a dataset as a resource of HTTP. @throws {RelayError} not_supported where its node can send none. */
export async function openPart(
  context: ResponseContext,
  { offset = 0, length, etag, minAgeMs }: Pick<OpenOptions, 'offset' | 'length' | 'etag' | 'minAgeMs'>,
): Promise<DatasetResponse> {
  const { transport, mac, dataset, signal, onChange } = context;
  if (!isCount(offset, 0) || (length !== undefined && !isCount(length, 1))) {
    throw new RelayError('usage', 'offset must be a whole number from 0, and length one from 1');
  }
  const last = length === undefined ? '' : offset + length - 1;
  const query = { ...(onChange === 'prefix' && { on_change: onChange }), ...toMinAge({ minAgeMs }) };
  const response = await transport.send({
    method: 'GET',
    path: `connectors/${mac}/datasets/${encodeDatasetPath(dataset)}`,
    query,
    headers: { Range: `bytes=${offset}-${last}`, ...(etag !== undefined && { 'If-Match': etag }) },
    signal,
  });
  await requireMinAge(response, query);
  const range = parseContentRange(response.headers.get('Content-Range') ?? '');
  if (response.status === 206 && range?.offset === offset) {
    const part = await readDatasetResponse(response, context, { offset, end: offset + range.length });
    return { ...part, digest: () => Promise.resolve(undefined) };
  }
  await response.body?.cancel();
  throw new RelayError('not_supported', `the connector ${mac} can send no part of a dataset, only the whole`);
}

/** The same dataset, checked while it is read. */
export function checked(
  content: DatasetResponse,
  { verify = true, requireDigest = false }: Pick<OpenOptions, 'verify' | 'requireDigest'>,
): OpenedDataset {
  const isChecked = requireDigest || (verify && (content.offset ?? 0) === 0);
  const body = isChecked ? compared(content, requireDigest) : content.body;
  return { ...content, body, [Symbol.asyncIterator]: () => iterate(body) };
}

/** Passes the bytes on, and errors at their end where they are not what their sender had. */
function compared(content: Content, requireDigest: boolean): ReadableStream<Uint8Array> {
  const hash = createSha256();
  const reader = content.body.getReader();
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const { done, value } = await reader.read();
        if (!done) {
          hash.update(value);
          controller.enqueue(value);
          return;
        }
        const promised = await content.digest();
        if (promised === undefined && requireDigest) {
          throw new RelayError('unverified', 'the node gave no digest to verify the content by');
        }
        if (promised !== undefined && promised !== hash.finish()) {
          throw new RelayError('content_mismatch', 'the SHA-256 of what arrived is not the one that was promised');
        }
        controller.close();
      },
      cancel: (reason) => reader.cancel(reason),
    },
    { highWaterMark: 0 },
  );
}

/** Not every browser lets a stream be iterated. */
async function* iterate(body: ReadableStream<Uint8Array>): AsyncGenerator<Uint8Array, void, undefined> {
  const reader = body.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield value;
    }
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}
