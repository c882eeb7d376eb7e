import { WORTH_OFFLOADING_BYTES } from '../../protocol/choose-pattern.ts';
import { HEADER } from '../../protocol/headers.ts';
import { formatOffloadFacts } from '../../protocol/offload-facts.ts';
import type { Context } from '../context.ts';
import type { DatasetFacts } from '../dataset-answer.ts';
import type { Part } from '../sink.ts';
import type { Asked } from './buffered-answer.ts';

/**
 * What an app that is sent a large dataset may choose the way by the store for, as headers of its answer. Nothing where the
 * operator named no store: the router's own is on the same line and disk, and only for who asks for it.
 * @param part that the answer is for; one that ends before the dataset does is not worth a detour.
 */
export function describeOffload(
  context: Context,
  { record: { mac, dataset }, request }: Asked,
  { totalSize = 0, etag }: DatasetFacts,
  part: Part | undefined,
): Record<string, string> {
  const { offloads, nodeLines, appLines, memory, registry } = context;
  const size = totalSize - (part?.offset ?? 0);
  if (size < WORTH_OFFLOADING_BYTES || part?.length !== undefined || !offloads.isChosen) return {};
  if (registry.findLinkOf(mac)?.hello.capabilities.has('no-offload') === true) return {};
  const now = performance.now();
  const { stream, upload } = nodeLines.find(mac) ?? {};
  const fromNode = stream?.known(now);
  const toApp = appLines.of(request).known(now);
  return {
    [HEADER.offload]: formatOffloadFacts({
      isStored: etag !== undefined && offloads.holds(mac, dataset, etag),
      isShort: memory.isShort,
      streamRate: fromNode && perSecond(Math.min(fromNode, toApp ?? Infinity)),
      uploadRate: perSecond(upload?.known(now)),
    }),
  };
}

const perSecond = (bytesPerMs: number | undefined): number | undefined => bytesPerMs && Math.round(bytesPerMs * 1000);
