import { fromProblem } from '../http/problem.ts';
import { type RequestStatus, requestStatus } from '../protocol/app.ts';
import { RelayError } from '../protocol/errors.ts';
import { withinDeadline } from './deadline.ts';
import { requireMinAge } from './min-age.ts';
import { backoff, pause } from './pause.ts';
import type { Subject } from './subject.ts';
import type { Transport } from './transport.ts';

/** How to wait for an asynchronous request. */
export interface PollOptions {
  readonly signal?: AbortSignal | undefined;
  /** Called with every answer, the last one included. */
  readonly onProgress?: ((status: RequestStatus) => void) | undefined;
  /**
   * How long one poll may stay open, in seconds; under what stands in between allows. Default 25 (a quarter of a shorter
   * `stallTimeoutMs`), with `onProgress` 1.
   */
  readonly pollSeconds?: number | undefined;
  /** How long the router may be unreachable between polls before that is an error, in milliseconds. Default 60,000. */
  readonly unreachableMs?: number | undefined;
}

/** How to make a request that may outlive its response. */
interface RunOptions extends PollOptions {
  /** The entity tag that the dataset must have. */
  readonly ifMatch?: string | undefined;
  readonly headers?: Readonly<Record<string, string>>;
}

/** What an asynchronous request came to: a status (always `done`), or the response of a router that answered at once. */
export type Outcome = { readonly status: RequestStatus } | { readonly response: Response };

/** How long a poll may stay open where nobody wants to know of progress, in seconds. */
const POLL_SECONDS = 25;
/** How long a router may take to answer a question that it need not wait for anybody to answer, in milliseconds. */
const ANSWER_MS = 10_000;
/** How long a cancellation may hold up whoever fired the signal, in milliseconds. */
const CANCEL_MS = 2000;
/** How often a request that the router forgot (it restarted) is made anew. */
const MAX_RENEWALS = 5;

/** Where a request stands; with `waitSeconds`, as soon as it has ended or that time is over. */
export async function fetchStatus(
  transport: Transport,
  id: string,
  { waitSeconds, signal }: { waitSeconds?: number | undefined; signal?: AbortSignal | undefined } = {},
): Promise<RequestStatus> {
  const path = `requests/${encodeURIComponent(id)}`;
  const limitMs = (waitSeconds ?? 0) * 1000 + Math.min(ANSWER_MS, transport.stallTimeoutMs);
  return withinDeadline(
    limitMs,
    signal,
    () => transport.noAnswer(),
    async (limited) => {
      const response = await transport.send({ method: 'GET', path, query: { wait: waitSeconds }, signal: limited });
      return transport.readJson(response, requestStatus, limited);
    },
  );
}

/** Whether nothing more will happen to the request. */
export const hasEnded = ({ state }: RequestStatus): boolean =>
  state === 'done' || state === 'failed' || state === 'cancelled';

/**
 * Makes a request with `Prefer: respond-async` (RFC 7240) and waits for its end in polls, each of them short, so that no
 * idle limit on the way ends a long one. A router that restarted is asked anew, and of a dataset that grows for the same
 * beginning, so that an upload goes on.
 * @throws {RelayError} what the request failed with; dataset_changed when it must have a tag and has another by now. When the
 * signal fires the request is cancelled at the router and the signal's reason thrown.
 */
export async function runAsync(
  transport: Transport,
  path: string,
  subject: Subject,
  options: RunOptions,
): Promise<Outcome> {
  let { ifMatch } = options;
  const onStatus = (status: RequestStatus): void => {
    if (subject.on_change === 'prefix') ifMatch = status.etag ?? ifMatch;
    options.onProgress?.(status);
  };
  for (let renewals = 0; ; renewals += 1) {
    try {
      return await runOnce(transport, path, subject, { ...options, ifMatch, onStatus });
    } catch (error) {
      if (error instanceof RelayError && error.code === 'precondition_failed' && ifMatch !== undefined) {
        throw new RelayError('dataset_changed', error.message, { cause: error, details: error.details });
      }
      const forgotten = error instanceof RelayError && error.code === 'request_gone' && error.retryable;
      if (!forgotten || renewals === MAX_RENEWALS) throw error;
      await pause(backoff(renewals + 1, 200, 5000), options.signal);
    }
  }
}

async function runOnce(
  transport: Transport,
  path: string,
  json: Subject,
  options: RunOptions & { readonly onStatus: (status: RequestStatus) => void },
): Promise<Outcome> {
  const { signal, onStatus } = options;
  signal?.throwIfAborted();
  const begun = await begin(transport, path, json, options);
  if ('response' in begun) return begun;
  let { status } = begun;
  const id = status.request_id;
  try {
    for (;;) {
      signal?.throwIfAborted();
      onStatus(status);
      if (hasEnded(status)) return { status: succeed(status) };
      status = await pollOnce(transport, id, options);
    }
  } catch (error) {
    if (signal?.aborted) await cancelQuietly(transport, id);
    throw error;
  }
}

/** Sends the request. A signal that fires meanwhile waits a moment for the id, since what was begun must be cancelled. */
async function begin(
  transport: Transport,
  path: string,
  json: Subject,
  { signal, ifMatch, headers: more }: RunOptions,
): Promise<Outcome> {
  const patience = new AbortController();
  let timer: ReturnType<typeof setTimeout> | undefined;
  const onAbort = (): void => {
    timer = setTimeout(() => patience.abort(signal?.reason), CANCEL_MS);
  };
  signal?.addEventListener('abort', onAbort, { once: true });
  try {
    const headers = { Prefer: 'respond-async', ...(ifMatch !== undefined && { 'If-Match': ifMatch }), ...more };
    const response = await transport.send({ method: 'POST', path, json, headers, signal: patience.signal });
    await requireMinAge(response, json);
    if (response.status !== 202) return { response };
    return { status: await transport.readJson(response, requestStatus, patience.signal) };
  } finally {
    signal?.removeEventListener('abort', onAbort);
    clearTimeout(timer);
  }
}

/** One poll, repeated while the router cannot be reached: the request goes on meanwhile. */
async function pollOnce(transport: Transport, id: string, options: PollOptions): Promise<RequestStatus> {
  const longest = Math.min(POLL_SECONDS, Math.ceil(transport.stallTimeoutMs / 4000));
  const { signal, onProgress, pollSeconds = onProgress ? 1 : longest, unreachableMs = 60_000 } = options;
  const giveUpAt = Date.now() + unreachableMs;
  for (let failures = 1; ; failures += 1) {
    try {
      return await fetchStatus(transport, id, { waitSeconds: pollSeconds, signal });
    } catch (error) {
      signal?.throwIfAborted();
      if (!mayPass(error) || Date.now() >= giveUpAt) throw error;
      await pause(backoff(failures, 250, 5000), signal);
    }
  }
}

function mayPass(error: unknown): boolean {
  return error instanceof RelayError && error.retryable && error.code !== 'request_gone';
}

function succeed(status: RequestStatus): RequestStatus {
  if (status.state === 'done') return status;
  const error = fromProblem(status.error) ?? new RelayError(status.state === 'cancelled' ? 'cancelled' : 'internal');
  throw error.with({ request_id: status.request_id });
}

async function cancelQuietly(transport: Transport, id: string): Promise<void> {
  try {
    await cancel(transport, id, AbortSignal.timeout(CANCEL_MS));
  } catch {
    // Whoever cancels is leaving: a router that cannot be told has lost nothing but work.
  }
}

/** Cancels a request. One that has ended is left as it is. */
export async function cancel(transport: Transport, id: string, signal?: AbortSignal): Promise<void> {
  const response = await transport.send({ method: 'DELETE', path: `requests/${encodeURIComponent(id)}`, signal });
  await response.body?.cancel();
}
