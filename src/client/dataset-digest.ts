import { fromProblem } from '../http/problem.ts';
import type { RequestStatus } from '../protocol/app.ts';
import { type ErrorCode, RelayError } from '../protocol/errors.ts';
import { HEADER } from '../protocol/headers.ts';
import type { DatasetTarget } from './dataset-range.ts';
import { fetchStatus, hasEnded } from './long-poll.ts';
import { backoff, pause } from './pause.ts';
import { requestDigest } from './request-digest.ts';
import type { Transport } from './transport.ts';

/** How long the router may take to settle a request whose body has arrived, in milliseconds, and one poll of it, in seconds. */
const SETTLE_MS = 60_000;
const POLL_SECONDS = 20;
const MAX_FAILURES = 3;
/** What may go wrong with asking about a request, as opposed to what went wrong with it. */
const MAY_PASS: ReadonlySet<ErrorCode> = new Set(['router_unreachable', 'overloaded', 'too_many_requests']);

/**
 * The digest of the whole, for which the node reads it.
 * @returns undefined where it cannot. @throws {RelayError} dataset_changed.
 */
export async function requestDigestOf(
  { transport, mac, dataset, signal, onChange }: DatasetTarget,
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

/** `fetch` shows no trailers, so a digest that became known with the last byte is asked for. */
export async function fetchDigest(
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
export async function fetchCurrentSize(
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
export async function fetchReason(
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
