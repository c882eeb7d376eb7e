import type { Encoding } from '../../http/coder.ts';
import { formatContentRange } from '../../http/range.ts';
import type { UploadedPart } from '../../protocol/answers.ts';
import type { CommandOf } from '../../protocol/commands.ts';
import { RelayError } from '../../protocol/errors.ts';
import type { CodingPlan } from '../coding/codings.ts';
import type { OpenDataset } from '../datasets/open.ts';
import { readDataset } from '../datasets/read.ts';
import { type PutOutcome, putObject } from '../store-client.ts';
import type { Handler, RequestContext } from './handler.ts';
import { PartUrls } from './part-urls.ts';
import { Progress } from './progress.ts';
import { UploadLanes } from './upload-lanes.ts';
import { describeGrowth, openWanted } from './selection.ts';

/** Up to this size, in bytes, one PUT does it. */
const SINGLE_PUT_BYTES = 16 * 1024 * 1024;

const PUT_ATTEMPTS = 5;
const FIRST_PAUSE_MS = 500;

/** Pattern C: the dataset goes to the object store, and the router gets its name there. */
export const answerOffloading: Handler<'get_dataset_offload'> = async (command, outer) => {
  const { router, dataDir, digests } = outer;
  if (!outer.offload) throw new RelayError('offload_unavailable', 'this node gives nothing to a store');
  // A router that restarted asks anew for what its predecessor had begun.
  using turn = await outer.uploads.enter(command.upload.download_url, outer.signal);
  await using dataset = await openWanted(dataDir, command);
  // One part that fails ends the others, and the hashing.
  const stop = new AbortController();
  const context = { ...outer, signal: AbortSignal.any([outer.signal, turn.signal, stop.signal]) };
  const progress = new Progress(command.request_id, dataset.facts.size, context, stop);
  try {
    const [parts, digest] = await joinAll(stop, [
      upload(dataset, command, context, progress, stop),
      command.want_digest === false ? Promise.resolve(digests.find(dataset)) : digests.compute(dataset, context.signal),
    ]);
    await dataset.verify();
    progress.stop();
    const { size, etag, modifiedAt } = dataset.facts;
    const result = {
      request_id: command.request_id,
      download_url: command.upload.download_url,
      size,
      ...describeGrowth(dataset),
      etag,
      ...(digest !== undefined && { digest }),
      ...(parts !== undefined && { parts }),
      ...(modifiedAt !== undefined && { last_modified: modifiedAt.toISOString() }),
    };
    await router.postResult(result, context.signal);
    return { bytes: size };
  } finally {
    progress.stop();
  }
};

type OffloadCommand = CommandOf<'get_dataset_offload'>;

/** @returns the parts; undefined where one PUT did it. */
async function upload(
  dataset: OpenDataset,
  command: OffloadCommand,
  context: RequestContext,
  progress: Progress,
  stop: AbortController,
): Promise<UploadedPart[] | undefined> {
  const { size } = dataset.facts;
  const plan = await context.storeCodings.plan(dataset, { start: 0, end: size }, command.upload.accept_encoding);
  if (size <= Math.min(SINGLE_PUT_BYTES, context.passages.limit(new URL(command.upload.url)))) {
    const target = { find: () => Promise.resolve(command.upload), renew: undefined };
    const range = { start: 0, end: size, encoding: plan?.whole };
    const outcome = await putPersistently(dataset, range, context, progress, target);
    if (outcome.kind === 'stored') return undefined;
    // Parts have URLs that can be renewed, and may go up in pieces.
    context.logger.debug({ reason: outcome.error.message }, 'the dataset goes to the store in parts instead');
  }
  return uploadParts(dataset, command, plan, context, progress, stop);
}

async function uploadParts(
  dataset: OpenDataset,
  { request_id: requestId, if_match }: OffloadCommand,
  plan: CodingPlan | undefined,
  context: RequestContext,
  progress: Progress,
  stop: AbortController,
): Promise<UploadedPart[]> {
  const { size } = dataset.facts;
  // Parts that are there are of the dataset as the command wants it, which is what was opened.
  const wanted = { requestId, totalSize: size, wantDone: if_match !== undefined };
  const urls = await PartUrls.open(context.router, wanted, context.signal);
  const parts: UploadedPart[] = [];
  if (urls.done.size > 0) context.logger.info({ done: urls.done.size, of: urls.count }, 'goes on with an upload');
  const lanes = new UploadLanes(context);
  await lanes.run(urls.count, stop, async (index) => {
    const number = index + 1;
    const done = urls.done.get(number);
    if (done !== undefined) progress.add(Math.min(urls.partSize, size - (number - 1) * urls.partSize));
    const etag = done ?? (await putPart(dataset, number, { urls, plan, lanes }, context, progress));
    parts.push({ part_number: number, etag });
  });
  return parts.toSorted((a, b) => a.part_number - b.part_number);
}

/**
 * PUTs one part; in pieces, where the store puts them together and the way to it takes no longer bodies, or is still to be
 * measured.
 */
async function putPart(
  dataset: OpenDataset,
  number: number,
  { urls, plan, lanes }: { urls: PartUrls; plan: CodingPlan | undefined; lanes: UploadLanes },
  context: RequestContext,
  progress: Progress,
): Promise<string> {
  const { passages } = context;
  const onSent = (bytes: number): void => lanes.noteSent(bytes);
  const start = (number - 1) * urls.partSize;
  const end = Math.min(dataset.facts.size, start + urls.partSize);
  const target = { find: () => urls.find(number), renew: () => urls.forget(number) };
  const url = new URL((await urls.find(number)).url);
  let limit = urls.takesRanges ? passages.limit(url) : Infinity;
  for (let position = start; ; ) {
    const { encoding, maxBytes = Infinity } = (urls.takesRanges ? plan?.next() : undefined) ?? {};
    const pieceEnd = Math.min(end, position + limit, position + maxBytes);
    const isPiece = position > start || pieceEnd < end;
    const place = isPiece
      ? { 'Content-Range': formatContentRange({ offset: position - start, length: pieceEnd - position }, end - start) }
      : undefined;
    const outcome = await putPersistently(
      dataset,
      { start: position, end: pieceEnd, place, encoding, onSent },
      context,
      progress,
      target,
    );
    if (outcome.kind !== 'stored') {
      const canNarrow = outcome.kind === 'blocked' && urls.takesRanges;
      const narrower = canNarrow ? passages.narrow(url, pieceEnd - position, outcome.obstacle) : undefined;
      if (narrower === undefined) throw outcome.error;
      limit = narrower;
    } else if (pieceEnd < end) {
      position = pieceEnd;
    } else {
      if (outcome.etag === undefined) throw new RelayError('store_unavailable', 'the store gave no ETag for a part');
      return outcome.etag;
    }
  }
}

/** Waits for all; the first that fails stops the others, and they too are waited for, since they use the open file. */
async function joinAll<const T extends readonly Promise<unknown>[]>(
  stop: AbortController,
  tasks: T,
): Promise<{ -readonly [K in keyof T]: Awaited<T[K]> }> {
  try {
    return await Promise.all(tasks);
  } catch (error) {
    stop.abort(error);
    await Promise.allSettled(tasks);
    throw error;
  }
}

/** Where a piece goes. */
interface Target {
  readonly find: () => Promise<{ url: string; headers: Record<string, string> }>;
  /** Makes the next `find` give another URL; undefined where there is only one. */
  readonly renew: (() => void) | undefined;
}

/** What is put: first byte, the first that is not, and what says where that belongs. */
interface Range {
  readonly start: number;
  readonly end: number;
  readonly place?: Readonly<Record<string, string>> | undefined;
  /** How it goes, where what is on the way lets coded bodies through. */
  readonly encoding?: Encoding | undefined;
  readonly onSent?: (bytes: number) => void;
}

/**
 * PUTs one piece, several times if need be.
 * @returns what became of it, where something else than sending it again may help.
 */
async function putPersistently(
  dataset: OpenDataset,
  range: Range,
  { agents, clock, signal, logger, passages, lineRate, storeRate }: RequestContext,
  progress: Progress,
  target: Target,
): Promise<Extract<PutOutcome, { kind: 'stored' | 'blocked' | 'expired' }>> {
  for (let attempt = 1; ; attempt++) {
    let sent = 0;
    const { url, headers } = await target.find();
    const encoding = passages.takesUnmeasured(new URL(url)) ? range.encoding : undefined;
    const outcome: PutOutcome = await putObject(
      agents,
      {
        url,
        headers: { ...headers, ...range.place },
        length: range.end - range.start,
        encoding,
        line: lineRate,
        onStored: (body) => storeRate.note(body, clock.now()),
        body: (write) => {
          progress.add(-sent);
          sent = 0;
          return readDataset(dataset, {
            ...range,
            signal,
            write: async (piece) => {
              await write(piece);
              sent += piece.length;
              progress.add(piece.length);
              range.onSent?.(piece.length);
            },
          });
        },
      },
      signal,
    );
    if (outcome.kind === 'stored') return outcome;
    progress.add(-sent);
    if (outcome.kind === 'unmeasured') {
      passages.refuseUnmeasured(new URL(url));
      continue;
    }
    if (outcome.kind === 'blocked' || (outcome.kind === 'expired' && target.renew === undefined)) return outcome;
    if (outcome.kind === 'refused' || attempt >= PUT_ATTEMPTS) throw outcome.error;
    logger.debug({ attempt, reason: outcome.error.message, offset: range.start }, 'a piece is sent to the store again');
    if (outcome.kind === 'expired') target.renew?.();
    await clock.sleep(clock.random() * FIRST_PAUSE_MS * 2 ** (attempt - 1), signal);
  }
}
