import type { DatasetInfo } from '../../protocol/answers.ts';
import { toDatasetInfo } from '../datasets/facts.ts';
import { listDatasets } from '../datasets/list.ts';
import { Progress } from './progress.ts';
import type { Handler } from './handler.ts';
import { describeGrowth, openWanted } from './selection.ts';

/** A page is cut here, in bytes of JSON, so that it stays a control message also where names are long. */
const MAX_PAGE_BYTES = 768 * 1024;

/** What is known of a dataset without reading it. */
export const answerStat: Handler<'stat'> = async (command, { dataDir, digests, router, signal }) => {
  await using dataset = await openWanted(dataDir, command);
  const { request_id, inline_max } = command;
  const digest = command.want_digest === true ? digests.find(dataset) : undefined;
  const info = { ...toDatasetInfo(dataset.facts), ...describeGrowth(dataset), ...(digest !== undefined && { digest }) };
  await router.sendResult({ request_id, dataset: info }, inline_max, signal);
  return { bytes: 0 };
};

/** One page of the datasets, in order of code units. */
export const answerList: Handler<'list'> = async (command, { dataDir, router, signal, logger }) => {
  const datasets: DatasetInfo[] = [];
  let bytes = 0;
  let next: string | undefined;
  for await (const facts of listDatasets(dataDir, { cursor: command.cursor, signal, logger })) {
    if (datasets.length >= command.limit || bytes > MAX_PAGE_BYTES) {
      next = datasets.at(-1)?.name;
      break;
    }
    const info = toDatasetInfo(facts);
    bytes += Buffer.byteLength(JSON.stringify(info));
    datasets.push(info);
  }
  const { request_id, inline_max } = command;
  await router.sendResult({ request_id, datasets, ...(next !== undefined && { next }) }, inline_max, signal);
  return { bytes: 0 };
};

/** The digest of a whole dataset, read for it unless it is known. */
export const answerDigest: Handler<'digest'> = async (command, context) => {
  const { dataDir, digests, router } = context;
  await using dataset = await openWanted(dataDir, command);
  const { size, etag } = dataset.facts;
  const stop = new AbortController();
  const signal = AbortSignal.any([context.signal, stop.signal]);
  // Reading a large dataset takes longer than the router would wait for one that says nothing.
  const progress = new Progress(command.request_id, size, { ...context, signal }, stop);
  try {
    const digest = await digests.compute(dataset, signal, (count) => progress.add(count));
    progress.stop();
    const result = { request_id: command.request_id, digest, size, ...describeGrowth(dataset), etag };
    await router.sendResult(result, command.inline_max, signal);
  } finally {
    progress.stop();
  }
  return { bytes: 0 };
};
