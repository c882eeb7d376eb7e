import { HEADER } from '../protocol/headers.ts';
import type { RelayError } from '../protocol/errors.ts';
import { fetchReason } from './dataset-digest.ts';
import { type DatasetTarget, openRange } from './dataset-range.ts';
import type { LanesPlan } from './lanes.ts';
import { resumableBody } from './resume.ts';

/** Of parts that break off together, it is enough to hear of one; in ms. */
const REPORT_PAUSE_MS = 1000;

/** What parts are opened with. */
interface PartContext extends DatasetTarget {
  readonly onInterruption?: ((error: RelayError, offset: number) => void) | undefined;
}

/** Opens parts of one version of a dataset, each of which goes on where it breaks off. */
export function createPartOpener(context: PartContext, etag: string): LanesPlan['openPart'] {
  const { transport, onInterruption } = context;
  let reportedAt = Number.NEGATIVE_INFINITY;
  const report = (error: RelayError, offset: number): void => {
    if (performance.now() - reportedAt < REPORT_PAUSE_MS) return;
    reportedAt = performance.now();
    onInterruption?.(error, offset);
  };
  return async ([start, end], signal, failure) => {
    let requestId: string | null = null;
    const open = async (from: number): Promise<ReadableStream<Uint8Array> | undefined> => {
      const part = await openRange({ ...context, signal }, { start: from, end, etag });
      requestId = part?.response.headers.get(HEADER.requestId) ?? null;
      return part?.response.body;
    };
    const first = failure === undefined ? await open(start) : failing(failure);
    if (first === undefined) return undefined;
    return resumableBody(first, {
      offset: start,
      size: end,
      signal,
      explain: async () => (requestId === null ? failure : fetchReason(transport, requestId, signal)),
      reopen: open,
      onInterruption: report,
    });
  };
}

const failing = (error: RelayError): ReadableStream<Uint8Array> =>
  new ReadableStream({ start: (controller) => controller.error(error) });
