import { createDigest, finishDigest } from '../../http/digest.ts';
import { openDataset } from '../datasets/open.ts';
import { sendChunks } from './chunks.ts';
import type { Handler } from './handler.ts';
import { select } from './selection.ts';

/** Pattern B: one long chunk, which the router passes on while it arrives, then `complete`. */
export const answerStreaming: Handler<'get_dataset_stream'> = async (command, context) => {
  const { router, dataDir, digests, signal } = context;
  await using dataset = await openDataset(dataDir, command.dataset_name);
  dataset.match(command.if_match);
  const { start, end, isWhole } = select(dataset.facts, command);
  const wantsDigest = command.want_digest === true && isWhole;
  const known = wantsDigest ? digests.find(dataset) : undefined;
  const hash = wantsDigest && known === undefined ? createDigest() : undefined;
  let hashed = 0;
  const onPiece = (piece: Buffer, at: number): void => {
    // What is sent again was hashed the first time.
    if (hash === undefined || at + piece.length <= hashed) return;
    hash.update(at < hashed ? piece.subarray(hashed - at) : piece);
    hashed = at + piece.length;
  };
  await sendChunks({ dataset, requestId: command.request_id, start, end, onPiece }, context);
  const digest = hash === undefined ? known : finishDigest(hash);
  if (digest !== undefined) digests.remember(dataset, digest);
  const complete = {
    request_id: command.request_id,
    total_size: dataset.facts.size,
    ...(digest !== undefined && { digest }),
  };
  await router.postComplete(complete, signal);
  return { bytes: end - start };
};
