import { fromProblem } from '../http/problem.ts';
import type { RequestStatus } from '../protocol/app.ts';
import { type ErrorCode, RelayError } from '../protocol/errors.ts';
import { HEADER } from '../protocol/headers.ts';
import { type Content, guardBody, readContentLength, readDigest, readTime } from './content.ts';
import { fetchStatus, hasEnded } from './long-poll.ts';
import { backoff, pause } from './pause.ts';
import type { Transport } from './transport.ts';

/** A dataset that is arriving. Whoever does not read `body` to its end must cancel it. */
export interface DatasetResponse extends Content {
  readonly requestId: string;
  /** Strong entity tag, with its quotes. */
  readonly etag?: string | undefined;
  readonly contentType: string;
}

/** How long the router may take to settle a request whose body has arrived, in milliseconds, and one poll of it, in seconds. */
const SETTLE_MS = 60_000;
const POLL_SECONDS = 20;
const MAX_FAILURES = 3;
/** What may go wrong with asking about a request, as opposed to what went wrong with it. */
const MAY_PASS: ReadonlySet<ErrorCode> = new Set(['router_unreachable', 'overloaded', 'too_many_requests']);

/** Reads the head of a response that carries a dataset. @throws {RelayError} router_unreachable when it is none of a router's. */
export async function readDatasetResponse(
  transport: Transport,
  response: Response,
  signal: AbortSignal | undefined,
): Promise<DatasetResponse> {
  const { headers } = response;
  const requestId = headers.get(HEADER.requestId);
  if (requestId === null) throw await transport.refuseForeign(response, signal);
  const size = readSize(headers);
  return {
    requestId,
    size,
    etag: headers.get('ETag') ?? undefined,
    lastModified: readTime(headers.get('Last-Modified')),
    contentType: headers.get('Content-Type') ?? 'application/octet-stream',
    body: guardBody(response.body, size, { signal, explain: () => fetchReason(transport, requestId, signal) }),
    digest: async () => readDigest(headers.get(HEADER.reprDigest)) ?? (await fetchDigest(transport, requestId, signal)),
  };
}

function readSize(headers: Headers): number | undefined {
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
