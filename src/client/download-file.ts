import type { DatasetInfo } from '../protocol/answers.ts';
import { RelayError } from '../protocol/errors.ts';
import type { Pattern } from '../protocol/choose-pattern.ts';
import { type OpenedContent, openByWays, tryWays } from './by-ways.ts';
import type { RelayClient } from './client.ts';
import type { Known } from './content.ts';
import type { DownloadOptions } from './download-types.ts';
import { readTime } from './content.ts';
import { withRetries } from './retry.ts';
import { saveTo, type SaveToOptions } from './save.ts';
import { Ways } from './ways.ts';
import type { Receipt } from './verify.ts';

/** From this size on what has arrived is worth being gone on with in another run, in bytes. */
const RESUMABLE_BYTES = 256 * 1024;

const NEVER = new AbortController().signal;

/** How far a transfer has got; it is filled in as it goes, so that it is known of one that fails too. */
export interface Course {
  pattern: Pattern | undefined;
  attempts: number;
  etag: string | undefined;
  requestId: string | undefined;
}

/**
 * Brings one dataset to a file, by whichever pattern it takes, as often as it takes.
 * @param path the file; no link is followed.
 * @throws {RelayError} as `saveTo` and the client's requests do.
 */
export async function downloadFile(
  client: RelayClient,
  { mac, dataset }: { readonly mac: string; readonly dataset: DatasetInfo },
  path: string,
  course: Course,
  options: DownloadOptions & Pick<SaveToOptions, 'onSaved'>,
): Promise<Receipt> {
  const { signal, requireDigest, onSaved, resume = true, retries = 3, waitMs = 0 } = options;
  const { fetch, stallTimeoutMs, onChange, minAgeMs, maxParallel: parallel } = options;
  const subject = { mac, dataset };
  let isSpoilt = false;
  /** What an earlier run has left is of a state that the dataset is no longer in. */
  let isOutdated = false;
  let isTooRecent = false;
  const ways = new Ways({ size: dataset.size }, (choice) => {
    course.pattern = choice.pattern;
    options.onChoice?.(subject, choice);
  });
  let isGoingOn = false;
  const attempt = async (): Promise<Receipt> => {
    const askedBefore = ways.asked;
    const open = async (known: Known | undefined): Promise<OpenedContent> => {
      const how = { signal, known, fresh: isSpoilt, fetch, stallTimeoutMs, onChange, minAgeMs, parallel };
      const content = await openByWays(client, { mac, dataset: dataset.name }, ways, how);
      course.etag = content.etag;
      course.requestId = content.requestId;
      return { ...content, lastModified: timeOf(content, dataset) };
    };
    try {
      return await saveTo(path, open, {
        signal,
        requireDigest,
        followLinks: false,
        onSaved,
        onBytes: (received) => options.onBytes?.(subject, received),
        ...(dataset.size >= RESUMABLE_BYTES && {
          resume: {
            from: client.datasetUrl(mac, dataset.name),
            startOver: !resume || isOutdated,
            onResume: () => {
              isGoingOn = true;
            },
          },
        }),
      });
    } catch (error) {
      if (error instanceof RelayError) {
        isSpoilt ||= error.code === 'content_mismatch';
        isTooRecent ||= error.code === 'dataset_too_recent';
        course.requestId = error.details.request_id ?? course.requestId;
      }
      throw error;
    } finally {
      course.attempts += Math.max(1, ways.asked - askedBefore);
    }
  };
  const save = (): Promise<Receipt> =>
    attempt().catch((error: unknown) => {
      if (!isGoingOn || isOutdated || !isChanged(error)) throw error;
      // Nobody is there to be asked, and what is wanted is the dataset as it is now.
      isOutdated = true;
      return attempt();
    });
  return withRetries(() => tryWays(ways, save, { signal }), {
    retries,
    waitMs,
    signal: signal ?? NEVER,
    // It is left to another run, as the listing leaves it out.
    mayRetry: () => !isTooRecent,
    onRetry: (error, delayMs) => options.onRetry?.(mac, dataset.name, error, delayMs),
  });
}

const isChanged = (error: unknown): boolean => error instanceof RelayError && error.code === 'dataset_changed';

/** A listing tells the time more exactly than HTTP does, if it is of the same version. */
function timeOf({ etag, lastModified }: OpenedContent, dataset: DatasetInfo): Date | undefined {
  const isSame = dataset.etag !== undefined && dataset.etag === etag;
  return isSame || lastModified === undefined ? (readTime(dataset.mtime) ?? lastModified) : lastModified;
}
