import type { DatasetInfo } from '../../protocol/answers.ts';
import { NameFilter } from '../../protocol/name-filter.ts';
import { toDatasetInfo } from '../datasets/facts.ts';
import { listDatasets } from '../datasets/list.ts';
import { Progress } from './progress.ts';
import type { Handler } from './handler.ts';
import { describeGrowth, minAgeOf, openWanted } from './selection.ts';

/** A page is cut here, in bytes of JSON, so that it stays a control message also where names are long. */
const MAX_PAGE_BYTES = 768 * 1024;

/** How long one page may take. */
const MAX_PAGE_MS = 5000;

/** What is known of a dataset without reading it. */
export const answerStat: Handler<'stat'> = async (command, { dataDir, digests, router, signal }) => {
  await using dataset = await openWanted(dataDir, command);
  const { request_id, inline_max } = command;
  const digest = command.want_digest === true ? digests.find(dataset) : undefined;
  const info = { ...toDatasetInfo(dataset.facts), ...describeGrowth(dataset), ...(digest !== undefined && { digest }) };
  await router.sendResult({ request_id, dataset: info }, inline_max, signal);
  return { bytes: 0 };
};

/**
 * One page of the datasets, in order of code units. Where little is found in a large tree it ends early, with a cursor to go
 * on from, so that nobody takes the silence for a failure.
 */
export const answerList: Handler<'list'> = async (command, { dataDir, router, clock, signal, logger }) => {
  const { request_id, inline_max, limit, cursor, prefix, glob, delimiter } = command;
  const datasets: DatasetInfo[] = [];
  const prefixes: string[] = [];
  let bytes = 0;
  let next: string | undefined;
  let last: string | undefined;
  const startedAt = clock.now();
  const walk = listDatasets(dataDir, {
    cursor,
    filter: new NameFilter({ prefix, glob }),
    minAgeMs: minAgeOf(dataDir, command),
    rollUpBeyond: delimiter === undefined ? undefined : (prefix ?? ''),
    isOverdue: () => clock.now() - startedAt >= MAX_PAGE_MS,
    signal,
    logger,
  });
  for await (const found of walk) {
    const isFull = datasets.length + prefixes.length >= limit || bytes > MAX_PAGE_BYTES;
    if (isFull || found.kind === 'passed') {
      next = isFull ? last : found.key;
      break;
    }
    last = found.key;
    const info = found.kind === 'dataset' ? toDatasetInfo(found.facts) : found.key;
    bytes += Buffer.byteLength(JSON.stringify(info));
    if (typeof info === 'string') prefixes.push(info);
    else datasets.push(info);
  }
  await router.sendResult(
    {
      request_id,
      datasets,
      ...(delimiter !== undefined && { prefixes }),
      ...(next !== undefined && { next }),
    },
    inline_max,
    signal,
  );
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
