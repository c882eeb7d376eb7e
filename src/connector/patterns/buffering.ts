import { RelayError } from '../../protocol/errors.ts';
import { readDataset } from '../datasets/read.ts';
import { sendChunks } from './chunks.ts';
import { dataHeaders } from './data-headers.ts';
import type { Handler } from './handler.ts';
import { isInline, readWhole, sendInline } from './inline.ts';
import { mayGetThrough } from './patience.ts';
import { describeGrowth, openWanted, select } from './selection.ts';

/**
 * Pattern A: the whole dataset in one `POST /datasets/result`, streamed from disk; in chunks and `complete` where something
 * on the way does not let that through, or breaks it off, or where it may grow meanwhile.
 */
export const answerBuffering: Handler<'get_dataset'> = async (command, context) => {
  const { router, dataDir, digests, passages, codings, signal } = context;
  await using dataset = await openWanted(dataDir, command);
  const { facts } = dataset;
  const { start, end } = select(facts, command);
  const { max_size: limit } = command;
  if (limit !== undefined && end - start > limit) {
    const text = `the dataset ${JSON.stringify(facts.name)} has ${facts.size} bytes, and this pattern takes ${limit}`;
    throw new RelayError('dataset_too_large', text, { details: { size: facts.size, limit } });
  }
  const digest = command.want_digest === true ? await digests.compute(dataset, signal) : undefined;
  const { request_id: requestId, inline_max: inlineMax } = command;
  const inline = { dataset, requestId, start, end, inlineMax };
  const plan = await codings.plan(dataset, { start, end }, command.accept_encoding);
  if (plan === undefined && isInline(inline)) {
    const bytes = await readWhole(dataset, { start, end, signal });
    if (await sendInline(inline, bytes, digest, context)) return { bytes: end - start };
  }
  const url = router.url('datasets/result');
  const length = end - start;
  const { encoding, maxBytes = Infinity } = plan?.next() ?? {};
  // How far it has grown is known after its bytes, which only `complete` comes after.
  const isOnePost = dataset.currentSize === undefined && length <= Math.min(maxBytes, passages.limit(url));
  const post = {
    requestId,
    headers: dataHeaders(dataset, start, digest),
    length,
    encoding,
    body: (write: (piece: Buffer) => Promise<void>) => readDataset(dataset, { start, end, signal, write }),
    beforeCut: context.reportFailure,
  };
  const outcome = isOnePost ? await router.postData('datasets/result', post, signal).catch(passOver) : undefined;
  if (outcome?.kind !== 'taken') {
    if (outcome?.kind === 'unmeasured') passages.refuseUnmeasured(url);
    if (outcome?.kind === 'blocked') passages.narrow(url, length, outcome.obstacle);
    await sendChunks({ dataset, requestId, start, end, plan, isBegun: isOnePost }, context);
    await dataset.verify();
    const complete = {
      request_id: requestId,
      total_size: facts.size,
      ...describeGrowth(dataset),
      ...(digest !== undefined && { digest }),
    };
    await router.postComplete(complete, signal);
  }
  return { bytes: length };
};

/** A result that broke off goes on in chunks: what arrived of it counts. */
function passOver(error: unknown): undefined {
  if (!mayGetThrough(error)) throw error;
}
