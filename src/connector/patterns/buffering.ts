import { RelayError } from '../../protocol/errors.ts';
import { HEADER } from '../../protocol/headers.ts';
import { openDataset } from '../datasets/open.ts';
import { readDataset } from '../datasets/read.ts';
import { describeDataset } from './dataset-headers.ts';
import type { Handler } from './handler.ts';
import { select } from './selection.ts';

/** Pattern A: the whole dataset in one `POST /datasets/result`, streamed from disk. */
export const answerBuffering: Handler<'get_dataset'> = async (command, context) => {
  const { router, dataDir, digests, signal } = context;
  await using dataset = await openDataset(dataDir, command.dataset_name);
  const { facts } = dataset;
  dataset.match(command.if_match);
  const { start, end } = select(facts, command);
  const { max_size: limit } = command;
  if (limit !== undefined && end - start > limit) {
    const text = `the dataset ${JSON.stringify(facts.name)} has ${facts.size} bytes, and this pattern takes ${limit}`;
    throw new RelayError('dataset_too_large', text, { details: { size: facts.size, limit } });
  }
  const digest = command.want_digest === true ? await digests.compute(dataset, signal) : undefined;
  const post = {
    requestId: command.request_id,
    headers: {
      ...describeDataset(facts),
      'Content-Type': 'application/octet-stream',
      ...(start > 0 && { [HEADER.offset]: String(start) }),
      ...(digest !== undefined && { [HEADER.reprDigest]: digest }),
    },
    length: end - start,
    body: (write: (piece: Buffer) => Promise<void>) => readDataset(dataset, { start, end, signal, write }),
    beforeCut: context.reportFailure,
  };
  await router.postData('datasets/result', post, signal);
  return { bytes: end - start };
};
