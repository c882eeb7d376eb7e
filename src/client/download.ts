import type { DatasetOptions, RelayClient } from './client.ts';
import { type ResumeOptions, saveTo } from './save.ts';
import type { Receipt } from './verify.ts';
import type { SaveOptions } from './write-out.ts';

/** How to download a dataset into a file. */
export interface DownloadToOptions
  extends Pick<SaveOptions, 'signal' | 'requireDigest' | 'onBytes'>,
    Pick<DatasetOptions, 'onInterruption' | 'onChange' | 'minAgeMs'>,
    Pick<ResumeOptions, 'onResume' | 'onStartOver' | 'onKept'> {
  /** Leave what has arrived when it breaks off, and go on with it the next time, as `saveTo` does. Default true. */
  readonly resume?: boolean | undefined;
}

/**
 * Downloads a dataset by pattern B into a file, which appears once it is whole and its digest agrees.
 * @throws {RelayError} as `requestStream` and `saveTo` do.
 */
export function download(
  client: RelayClient,
  mac: string,
  dataset: string,
  path: string,
  options: DownloadToOptions = {},
): Promise<Receipt> {
  const { resume = true, onInterruption, onChange, minAgeMs, onResume, onStartOver, onKept, ...saving } = options;
  const wish = { signal: saving.signal, onInterruption, onChange, minAgeMs };
  return saveTo(path, (known) => client.requestStream(mac, dataset, { known, ...wish }), {
    ...saving,
    // The bytes go to the file and nowhere else.
    ownsBytes: true,
    ...(resume && { resume: { from: client.datasetUrl(mac, dataset), onResume, onStartOver, onKept } }),
  });
}
