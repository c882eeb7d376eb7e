import { createDigest, finishDigest } from '../../http/digest.ts';
import type { Receipt } from '../../protocol/answers.ts';
import { RelayError } from '../../protocol/errors.ts';
import { HEADER } from '../../protocol/headers.ts';
import { type OpenDataset, openDataset } from '../datasets/open.ts';
import { readDataset } from '../datasets/read.ts';
import { describeDataset } from './dataset-headers.ts';
import type { Handler, RequestContext } from './handler.ts';
import { type Selection, select } from './selection.ts';

/** How often in a row the router may ask for bytes that it was sent before. */
const MAX_REWINDS = 3;

/** Pattern B: one long chunk, which the router passes on while it arrives, then `complete`. */
export const answerStreaming: Handler<'get_dataset_stream'> = async (command, context) => {
  const { router, dataDir, digests, signal } = context;
  await using dataset = await openDataset(dataDir, command.dataset_name);
  dataset.match(command.if_match);
  const selection = select(dataset.facts, command);
  const wantsDigest = command.want_digest === true && selection.isWhole;
  const known = wantsDigest ? digests.find(dataset) : undefined;
  const hash = wantsDigest && known === undefined ? createDigest() : undefined;
  let hashed = 0;

  const sendFrom = async (position: number): Promise<number> => {
    const receipt = await postChunk(
      dataset,
      command.request_id,
      { ...selection, start: position },
      context,
      (piece, at) => {
        // What is sent again was hashed the first time.
        if (hash === undefined || at + piece.length <= hashed) return;
        hash.update(at < hashed ? piece.subarray(hashed - at) : piece);
        hashed = at + piece.length;
      },
    );
    return receipt.next_offset ?? selection.end;
  };

  let position = selection.start;
  for (let rewinds = 0; ; rewinds++) {
    const next = await sendFrom(position);
    if (next >= selection.end) break;
    if (next > position) rewinds = 0;
    if (rewinds >= MAX_REWINDS) throw new RelayError('connector_failed', 'the router does not take in what it is sent');
    position = next;
  }

  const digest = hash === undefined ? known : finishDigest(hash);
  if (digest !== undefined) digests.remember(dataset, digest);
  const complete = {
    request_id: command.request_id,
    total_size: dataset.facts.size,
    ...(digest !== undefined && { digest }),
  };
  await router.postComplete(complete, signal);
  return { bytes: selection.end - selection.start };
};

async function postChunk(
  dataset: OpenDataset,
  requestId: string,
  { start, end }: Selection,
  { router, signal, reportFailure }: RequestContext,
  onPiece: (piece: Buffer, position: number) => void,
): Promise<Partial<Receipt>> {
  const post = {
    requestId,
    headers: {
      ...describeDataset(dataset.facts),
      'Content-Type': dataset.facts.contentType,
      [HEADER.offset]: String(start),
    },
    length: end - start,
    body: (write: (piece: Buffer) => Promise<void>) =>
      readDataset(dataset, {
        start,
        end,
        signal,
        write: (piece, position) => {
          onPiece(piece, position);
          return write(piece);
        },
      }),
    beforeCut: reportFailure,
  };
  try {
    return await router.postData('datasets/stream/chunk', post, signal);
  } catch (error) {
    // A gap, in the router's view: it says where to go on.
    const next =
      error instanceof RelayError && error.code === 'offset_mismatch' ? error.details.next_offset : undefined;
    if (next === undefined) throw error;
    return { next_offset: next };
  }
}
