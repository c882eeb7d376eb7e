import { plainEtags } from '../http/content-coding.ts';
import { parseContentRange } from '../http/range.ts';
import { FAR_MS } from '../http/width.ts';
import { type ErrorCode, RelayError } from '../protocol/errors.ts';
import { HEADER } from '../protocol/headers.ts';
import { type OffloadFacts, parseOffloadFacts } from '../protocol/offload-facts.ts';
import { type Content, type Known, type PartsContent, readContentLength, readDigest, readTime } from './content.ts';
import { fetchCurrentSize, fetchDigest, fetchReason, requestDigestOf } from './dataset-digest.ts';
import { createPartOpener } from './dataset-part.ts';
import { type DatasetTarget, openRange } from './dataset-range.ts';
import type { LanesPlan } from './lanes.ts';
import { resumableBody } from './resume.ts';
import type { AgeOptions } from './min-age.ts';
import { isWorthLanes, readSideBySide, writeSideBySide } from './side-by-side.ts';
import { requirePrefix } from './subject.ts';
import type { Transport } from './transport.ts';

/** A dataset that is arriving. Whoever does not read `body` to its end must cancel it. */
export interface DatasetResponse extends Content {
  readonly requestId: string;
  readonly contentType: string;
  /** What the router tells of the way by the store, of a large dataset that can be had by it. */
  readonly offload?: OffloadFacts | undefined;
  /** There where the router may be far and the dataset is large enough; see {@link PartsContent}. */
  readonly isLarge?: PartsContent['isLarge'];
  readonly writeParts?: PartsContent['writeParts'];
}

/**
 * Asks for a length in place of a trailer, which `fetch` does not show: what comes in chunks costs more to take apart. The
 * digest is asked for by the request's id.
 */
export const PREFER_LENGTH = 'length';

/** What a response is part of, so that it can go on where it breaks off. */
export interface ResponseContext extends DatasetTarget {
  /** Told when the transfer broke off and is about to go on from `offset`. */
  readonly onInterruption?: ((error: RelayError, offset: number) => void) | undefined;
  /** How many connections there may be for it. Default one. */
  readonly parallel?: number | undefined;
  /** The digest of the whole will be asked for. Default false. */
  readonly wantDigest?: boolean | undefined;
}

/**
 * Asks for what is missing of a dataset.
 * @returns undefined where it is not the same any more, or its rest cannot be had by itself.
 */
export async function resumeDataset(
  context: ResponseContext,
  { etag, size, offset }: Known,
  { minAgeMs }: AgeOptions = {},
): Promise<DatasetResponse | undefined> {
  try {
    const headers = context.wantDigest === true ? { 'Want-Repr-Digest': 'sha-256=1' } : undefined;
    const rest = await openRange(context, { start: offset, etag, headers, minAgeMs });
    if (rest === undefined) return undefined;
    const isSame = rest.size === size && rest.response.headers.get('ETag') === etag;
    if (isSame) return await readDatasetResponse(rest.response, context, { offset });
    await rest.response.body?.cancel();
    return undefined;
  } catch (error) {
    if (error instanceof RelayError && STARTS_OVER.has(error.code)) return undefined;
    throw error;
  }
}

/** What says that what is there is of no use, and nothing about the dataset as it is now. */
const STARTS_OVER: ReadonlySet<ErrorCode> = new Set(['dataset_changed', 'range_not_satisfiable']);

/**
 * Reads the head of a response that carries a dataset. Its body goes on by ranges of the same dataset where it breaks off. From
 * far away, parts of a large one come by others at the same time.
 * @param part where in the whole it begins, by default 0, and ends, by default where the whole does.
 * @throws {RelayError} router_unreachable when it is none of a router's.
 */
export async function readDatasetResponse(
  response: Response,
  context: ResponseContext,
  { offset = 0, end }: { readonly offset?: number; readonly end?: number } = {},
): Promise<DatasetResponse> {
  const { transport, signal, onInterruption, parallel = 1 } = context;
  const { headers } = response;
  const requestId = headers.get(HEADER.requestId);
  if (requestId === null) throw await transport.refuseForeign(response, signal);
  const isPrefix = context.onChange === 'prefix';
  const applied = headers.get(HEADER.onChange) ?? undefined;
  if (isPrefix && applied === undefined) await response.body?.cancel();
  requirePrefix({ on_change: applied }, context.onChange);
  const size = readSize(headers);
  const tag = headers.get('ETag') ?? undefined;
  const isCoded = headers.has('Content-Encoding');
  // Of what is coded on the way, the rest is asked for as it is.
  const etag = tag !== undefined && isCoded ? plainEtags(tag) : tag;
  const known = readDigest(headers.get(HEADER.reprDigest) ?? headers.get(HEADER.unencodedDigest));
  let isWhole = offset === 0;
  let last = response;
  let beside: Promise<string | undefined> | undefined;
  const reopen = async (from: number): Promise<ReadableStream<Uint8Array> | undefined> => {
    const rest = await openRange(context, { start: from, end, etag: etag as string });
    isWhole = false;
    if (rest !== undefined) last = rest.response;
    return rest?.response.body;
  };
  const first = resumableBody(response.body, {
    offset,
    size: end ?? size,
    signal,
    explain: () => fetchReason(transport, requestId, signal),
    reopen: etag === undefined ? undefined : reopen,
    onInterruption,
  });
  const digest = async (): Promise<string | undefined> => {
    const found = known ?? ((isWhole && (await fetchDigest(transport, requestId, signal))) || (await beside));
    if (found !== undefined) return found;
    // The node promised one, and nobody could make it of the pieces that it sent.
    const isLate =
      /\b(?:repr|unencoded)-digest\b/i.test(headers.get('Trailer') ?? '') ||
      headers.get('Preference-Applied') === PREFER_LENGTH;
    const isPromised = !isWhole || isLate;
    return isPromised && etag !== undefined ? requestDigestOf(context, etag) : undefined;
  };
  const content = {
    requestId,
    size,
    etag,
    offset,
    lastModified: readTime(headers.get('Last-Modified')),
    contentType: headers.get('Content-Type') ?? 'application/octet-stream',
    offload: parseOffloadFacts(headers.get(HEADER.offload)),
    digest,
    ...(isPrefix && { currentSize: () => fetchCurrentSize(transport, last, signal) }),
  };
  // What comes coded is short of line, not of connections, and its parts would come plain.
  const isDivisible = parallel > 1 && end === undefined && !isCoded && etag?.startsWith('"') === true;
  if (!isDivisible || size === undefined || !isWorthLanes(size - offset) || transport.roundTrip.ms < FAR_MS)
    return { ...content, body: first };
  const ask = (inner: AbortSignal): Promise<void> => askShortly(transport, inner);
  const plan: LanesPlan = {
    first,
    offset,
    size,
    most: parallel,
    signal,
    whereFar: (inner) => transport.roundTrip.whereFar(() => ask(inner)),
    ask,
    openPart: createPartOpener(context, etag),
    onWide: async (inner) => {
      isWhole = false;
      // Whoever fetches parts has the node read the whole for its digest; better beside them than afterwards.
      if (context.wantDigest === true && known === undefined)
        beside = requestDigestOf({ ...context, signal: inner }, etag).catch(() => undefined);
      await beside;
    },
  };
  return {
    ...content,
    body: readSideBySide(plan),
    isLarge: true,
    writeParts: (write, partsSignal = signal, there = []) =>
      writeSideBySide({ ...plan, signal: partsSignal }, write, there),
  } satisfies DatasetResponse & PartsContent;
}

/** A question that costs the router nothing. */
async function askShortly(transport: Transport, signal: AbortSignal): Promise<void> {
  const response = await transport.exchange({ method: 'GET', path: 'healthz', signal });
  await response.arrayBuffer();
}

function readSize(headers: Headers): number | undefined {
  const range = parseContentRange(headers.get('Content-Range') ?? '');
  if (range !== undefined) return range.size;
  const total = headers.get(HEADER.totalSize);
  return total !== null && /^\d+$/.test(total) ? Number(total) : readContentLength(headers);
}
