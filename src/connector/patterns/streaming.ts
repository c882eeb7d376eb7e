import { createDigest, finishDigest } from '../../http/digest.ts';
import { type ChunksOptions, sendChunks } from './chunks.ts';
import { dataHeaders } from './data-headers.ts';
import type { Handler, RequestContext } from './handler.ts';
import { isInline, readWhole, sendInline } from './inline.ts';
import { isWorthParallel, sendInParallel } from './parallel.ts';
import { mayGetThrough } from './patience.ts';
import { describeGrowth, openWanted, select } from './selection.ts';

/** Up to this size a dataset goes in one POST, in bytes. */
const SMALL_BYTES = 64 * 1024;

/**
 * Pattern B: one long chunk, which the router passes on while it arrives, or over a long way many side by side; then
 * `complete`.
 */
export const answerStreaming: Handler<'get_dataset_stream'> = async (command, context) => {
  const { router, dataDir, digests, codings, signal } = context;
  await using dataset = await openWanted(dataDir, command);
  const { start, end, isWhole } = select(dataset.facts, command);
  const wantsDigest = command.want_digest === true && isWhole;
  const known = wantsDigest ? digests.find(dataset) : undefined;
  const plan = await codings.plan(dataset, { start, end }, command.accept_encoding);
  const { request_id: requestId, inline_max: inlineMax } = command;
  const options = { dataset, requestId, start, end, plan, inlineMax };
  if (end - start <= SMALL_BYTES && (await sendAtOnce(options, wantsDigest, known, context)))
    return { bytes: end - start };
  const roundTripMs = context.roundTrips.shortestMs;
  const windowEnd = context.maxParallel > 1 ? command.window_end : undefined;
  let digest: string | undefined;
  if (windowEnd !== undefined && isWorthParallel(end - start, roundTripMs)) {
    // Out of order nothing can be hashed, so that the file is read once more, in order.
    const hashing = wantsDigest ? digests.compute(dataset, signal) : undefined;
    hashing?.catch(() => {});
    const { kind } = await sendInParallel({ ...options, windowEnd, roundTripMs }, context);
    if (kind === 'blocked') await sendChunks({ ...options, isBegun: true }, context);
    digest = await hashing;
  } else {
    digest = (await sendHashing(options, wantsDigest && known === undefined, context)) ?? known;
  }
  // The last bytes may have waited for their app since they were read.
  await dataset.verify();
  const complete = {
    request_id: command.request_id,
    total_size: dataset.facts.size,
    ...describeGrowth(dataset),
    ...(digest !== undefined && { digest }),
  };
  await router.postComplete(complete, signal);
  return { bytes: end - start };
};

/**
 * Sends what is small over the link or in a single POST, which is first bytes and completion in one.
 * @returns whether it got through; if not, what arrived of it counts.
 */
async function sendAtOnce(
  options: ChunksOptions & { readonly inlineMax: number | undefined },
  wantsDigest: boolean,
  known: string | undefined,
  context: RequestContext,
): Promise<boolean> {
  const { dataset, requestId, start, end, plan } = options;
  const { router, digests, signal, reportFailure } = context;
  const bytes = await readWhole(dataset, { start, end, signal });
  const digest = wantsDigest ? (known ?? finishDigest(createDigest().update(bytes))) : undefined;
  if (digest !== undefined) digests.remember(dataset, digest);
  if (plan === undefined && isInline(options) && (await sendInline(options, bytes, digest, context))) return true;
  const post = {
    requestId,
    headers: dataHeaders(dataset, start, digest),
    length: bytes.length,
    encoding: plan?.next().encoding,
    body: (send: (piece: Buffer) => Promise<void>) => (bytes.length > 0 ? send(bytes) : Promise.resolve()),
    beforeCut: reportFailure,
  };
  try {
    return (await router.postData('datasets/result', post, signal)).kind === 'taken';
  } catch (error) {
    if (mayGetThrough(error)) return false;
    throw error;
  }
}

/** Sends in order and hashes on the way, where that is wanted. @returns the digest. */
async function sendHashing(
  options: ChunksOptions,
  wantsDigest: boolean,
  context: RequestContext,
): Promise<string | undefined> {
  const hash = wantsDigest ? createDigest() : undefined;
  let hashed = 0;
  const onPiece = (piece: Buffer, at: number): void => {
    // What is sent again was hashed the first time.
    if (hash === undefined || at + piece.length <= hashed) return;
    hash.update(at < hashed ? piece.subarray(hashed - at) : piece);
    hashed = at + piece.length;
  };
  await sendChunks({ ...options, onPiece }, context);
  if (hash === undefined) return undefined;
  const digest = finishDigest(hash);
  context.digests.remember(options.dataset, digest);
  return digest;
}
