import { plainEtags } from '../http/content-coding.ts';
import { parseContentRange } from '../http/range.ts';
import { fromProblem } from '../http/problem.ts';
import type { RequestStatus } from '../protocol/app.ts';
import { encodeDatasetPath } from '../protocol/dataset-name.ts';
import { type ErrorCode, RelayError } from '../protocol/errors.ts';
import type { OnChange } from '../protocol/fields.ts';
import { HEADER } from '../protocol/headers.ts';
import { type Content, type Known, readContentLength, readDigest, readTime } from './content.ts';
import { withinDeadline } from './deadline.ts';
import { fetchStatus, hasEnded } from './long-poll.ts';
import { backoff, pause } from './pause.ts';
import { requestDigest } from './request-digest.ts';
import { resumableBody } from './resume.ts';
import { requirePrefix } from './subject.ts';
import type { Transport } from './transport.ts';

/** A dataset that is arriving. Whoever does not read `body` to its end must cancel it. */
export interface DatasetResponse extends Content {
  readonly requestId: string;
  readonly contentType: string;
}

/** How long the router may take to settle a request whose body has arrived, in milliseconds, and one poll of it, in seconds. */
const SETTLE_MS = 60_000;
const POLL_SECONDS = 20;
const MAX_FAILURES = 3;
/** What may go wrong with asking about a request, as opposed to what went wrong with it. */
const MAY_PASS: ReadonlySet<ErrorCode> = new Set(['router_unreachable', 'overloaded', 'too_many_requests']);

/**
 * Asks for a length in place of a trailer, which `fetch` does not show: what comes in chunks costs more to take apart. The
 * digest is asked for by the request's id.
 */
export const PREFER_LENGTH = 'length';

/** What a response is part of, so that it can go on where it breaks off. */
export interface ResponseContext {
  readonly transport: Transport;
  readonly mac: string;
  readonly dataset: string;
  readonly signal: AbortSignal | undefined;
  /** Default `fail`. */
  readonly onChange?: OnChange | undefined;
  /** Told when the transfer broke off and is about to go on from `offset`. */
  readonly onInterruption?: ((error: RelayError, offset: number) => void) | undefined;
}

/**
 * Asks for what is missing of a dataset.
 * @returns undefined where it is not the same any more, or its rest cannot be had by itself.
 */
export async function resumeDataset(
  context: ResponseContext,
  { etag, size, offset }: Known,
  wantDigest: boolean,
): Promise<DatasetResponse | undefined> {
  try {
    const rest = await openRest(
      context,
      { start: offset },
      etag,
      wantDigest ? { 'Want-Repr-Digest': 'sha-256=1' } : {},
    );
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
 * Reads the head of a response that carries a dataset. Its body goes on by ranges of the same dataset where it breaks off.
 * @param part where in the whole it begins, by default 0, and ends, by default where the whole does.
 * @throws {RelayError} router_unreachable when it is none of a router's.
 */
export async function readDatasetResponse(
  response: Response,
  context: ResponseContext,
  { offset = 0, end }: { readonly offset?: number; readonly end?: number } = {},
): Promise<DatasetResponse> {
  const { transport, signal, onInterruption } = context;
  const { headers } = response;
  const requestId = headers.get(HEADER.requestId);
  if (requestId === null) throw await transport.refuseForeign(response, signal);
  const isPrefix = context.onChange === 'prefix';
  const applied = headers.get(HEADER.onChange) ?? undefined;
  if (isPrefix && applied === undefined) await response.body?.cancel();
  requirePrefix({ on_change: applied }, context.onChange);
  const size = readSize(headers);
  const tag = headers.get('ETag') ?? undefined;
  // Of what is coded on the way, the rest is asked for as it is.
  const etag = tag !== undefined && headers.has('Content-Encoding') ? plainEtags(tag) : tag;
  let isWhole = offset === 0;
  let last = response;
  const reopen = async (from: number): Promise<ReadableStream<Uint8Array> | undefined> => {
    const rest = await openRest(context, { start: from, end }, etag as string);
    isWhole = false;
    if (rest !== undefined) last = rest.response;
    return rest?.response.body ?? undefined;
  };
  const digest = async (): Promise<string | undefined> => {
    const known =
      readDigest(headers.get(HEADER.reprDigest) ?? headers.get(HEADER.unencodedDigest)) ??
      (isWhole && (await fetchDigest(transport, requestId, signal)));
    if (known) return known;
    // The node promised one, and nobody could make it of the pieces that it sent.
    const isLate =
      /\b(?:repr|unencoded)-digest\b/i.test(headers.get('Trailer') ?? '') ||
      headers.get('Preference-Applied') === PREFER_LENGTH;
    const isPromised = !isWhole || isLate;
    return isPromised && etag !== undefined ? requestDigestOf(context, etag) : undefined;
  };
  return {
    requestId,
    size,
    etag,
    offset,
    lastModified: readTime(headers.get('Last-Modified')),
    contentType: headers.get('Content-Type') ?? 'application/octet-stream',
    body: resumableBody(response.body, {
      offset,
      size: end ?? size,
      signal,
      explain: () => fetchReason(transport, requestId, signal),
      reopen: etag === undefined ? undefined : reopen,
      onInterruption,
    }),
    digest,
    ...(isPrefix && { currentSize: () => fetchCurrentSize(transport, last, signal) }),
  };
}

/** The bytes from `start` on, up to but without `end`; undefined where they cannot be had by themselves. @throws {RelayError} dataset_changed. */
async function openRest(
  { transport, mac, dataset, signal, onChange }: ResponseContext,
  { start, end }: { readonly start: number; readonly end?: number | undefined },
  etag: string,
  more: Readonly<Record<string, string>> = {},
): Promise<{ readonly response: Response; readonly size: number } | undefined> {
  const path = `connectors/${mac}/datasets/${encodeDatasetPath(dataset)}`;
  const query = onChange === 'prefix' ? { on_change: onChange } : {};
  const headers = { Range: `bytes=${start}-${end === undefined ? '' : end - 1}`, 'If-Match': etag, ...more };
  const response = await withinDeadline(
    transport.stallTimeoutMs,
    signal,
    () => transport.noAnswer(),
    (limited) => transport.exchange({ method: 'GET', path, query, headers, signal: limited }),
  );
  if (response.status === 206) {
    const range = parseContentRange(response.headers.get('Content-Range') ?? '');
    if (range?.offset === start && response.body !== null) return { response, size: range.size };
  } else if (!response.ok) {
    const error = await transport.readError(response, signal);
    if (error.code !== 'precondition_failed') throw error;
    throw new RelayError(
      'dataset_changed',
      'the dataset changed while it was being fetched; what has arrived is of no use',
      {
        cause: error,
        details: error.details,
      },
    );
  }
  await response.body?.cancel();
  return undefined;
}

/** The digest of the whole, for which the node reads it. Undefined where it cannot. @throws {RelayError} dataset_changed. */
async function requestDigestOf(
  { transport, mac, dataset, signal, onChange }: ResponseContext,
  etag: string,
): Promise<string | undefined> {
  try {
    const found =
      onChange === 'prefix'
        ? await requestDigest(transport, { mac, dataset, on_change: onChange }, { signal, ifMatch: etag })
        : await requestDigest(transport, { mac, dataset }, { signal });
    if (found.etag === undefined || found.etag === etag) return found.digest;
  } catch (error) {
    if (error instanceof RelayError && error.code === 'not_supported') return undefined;
    throw error;
  }
  throw new RelayError(
    'dataset_changed',
    'the dataset changed before its digest was known; what arrived cannot be verified',
  );
}

function readSize(headers: Headers): number | undefined {
  const range = parseContentRange(headers.get('Content-Range') ?? '');
  if (range !== undefined) return range.size;
  const total = headers.get(HEADER.totalSize);
  return total !== null && /^\d+$/.test(total) ? Number(total) : readContentLength(headers);
}

/** `fetch` shows no trailers, so a digest that became known with the last byte is asked for. */
async function fetchDigest(
  transport: Transport,
  id: string,
  signal: AbortSignal | undefined,
): Promise<string | undefined> {
  const giveUpAt = Date.now() + SETTLE_MS;
  for (let failures = 0; ; ) {
    try {
      const status = await fetchStatus(transport, id, { waitSeconds: POLL_SECONDS, signal });
      if (hasEnded(status) || Date.now() >= giveUpAt) return readEnd(status);
    } catch (error) {
      if (!(error instanceof RelayError)) throw error;
      if (error.code === 'request_gone' || error.code === 'not_found') return undefined;
      failures += 1;
      // The bytes are all here: it would be a pity to lose them to one connection.
      if (!MAY_PASS.has(error.code) || failures > MAX_FAILURES) throw error;
      await pause(backoff(failures, 250, 2000), signal);
    }
  }
}

/** How far the dataset has grown, which became known with the last byte. Undefined where nobody can say. */
async function fetchCurrentSize(
  transport: Transport,
  { headers }: Response,
  signal: AbortSignal | undefined,
): Promise<number | undefined> {
  const known = headers.get(HEADER.currentSize);
  if (known !== null && /^\d+$/.test(known)) return Number(known);
  const id = headers.get(HEADER.requestId);
  if (id === null) return undefined;
  try {
    return (await fetchStatus(transport, id, { waitSeconds: POLL_SECONDS, signal })).current_size;
  } catch {
    // The bytes are all here and checked: nothing hangs on this.
    signal?.throwIfAborted();
    return undefined;
  }
}

/** Why a request failed whose response could only be cut; undefined where the router cannot say, or it was the network. */
async function fetchReason(
  transport: Transport,
  id: string,
  signal: AbortSignal | undefined,
): Promise<RelayError | undefined> {
  try {
    const { state, error } = await fetchStatus(transport, id, { signal });
    return state === 'failed' ? fromProblem(error) : undefined;
  } catch {
    return undefined;
  }
}

function readEnd(status: RequestStatus): string | undefined {
  if (status.state === 'failed') throw fromProblem(status.error) ?? new RelayError('internal');
  return status.digest ?? undefined;
}
