import type { ConnectorInfo } from '../protocol/app.ts';
import { RelayError } from '../protocol/errors.ts';
import type { RelayClient } from './client.ts';
import { Download } from './download-batch.ts';
import type { DownloadOptions, DownloadSummary } from './download-types.ts';
import { nameConnectors, readOutputTemplate } from './output-template.ts';
import { Slots } from './slots.ts';

/**
 * Downloads the datasets of one connector to a directory, under their names. What is there already is left alone, by its ETag,
 * which `.relay-index` in the directory keeps, or else by its time; each of the others appears once it is complete and verified;
 * nothing is written outside the directory, and no link is followed. One that fails, or a listing that does, is told by
 * `onResult` and counted, and does not stop the others.
 * @throws {RelayError} output_failed when the directory cannot be written to. @throws the signal's reason when it fires.
 */
export async function downloadAll(
  client: RelayClient,
  mac: string,
  directory: string,
  options: DownloadOptions = {},
): Promise<DownloadSummary> {
  await using download = await Download.open(client, directory, options);
  await download.run(mac, (dataset) => dataset);
  return download.summary;
}

/**
 * Downloads the datasets of many connectors, each as `downloadAll` does; `parallel` counts over all of them.
 * @param output where a file goes, with `{mac}`, `{name}` and `{path}` in it: see `readOutputTemplate`.
 * @param connectors those to ask. One that only has a `mac` is told as failed with `connector_not_found`.
 * @throws {RelayError} usage when `output` is no such template; else as `downloadAll` does.
 */
export async function downloadFleet(
  client: RelayClient,
  connectors: readonly (ConnectorInfo | Pick<ConnectorInfo, 'mac'>)[],
  output: string,
  options: DownloadOptions = {},
): Promise<DownloadSummary> {
  const { signal, parallel = 4, onResult } = options;
  const template = readOutputTemplate(output);
  const known = connectors.filter((connector) => 'state' in connector);
  const names = nameConnectors(known);
  await using download = await Download.open(client, template.directory, options);
  for (const { mac } of connectors) {
    if (names.has(mac)) continue;
    const error = new RelayError('connector_not_found', `the router never saw a connector ${mac}`);
    onResult?.({ mac, dataset: undefined, outcome: 'failed', attempts: 0, error, ms: 0 });
  }
  // As many listings as transfers, and never a queue of more than one dataset of each.
  const slots = new Slots(parallel);
  const runs = known.map(async ({ mac }) => {
    await slots.acquire(signal);
    try {
      await download.run(mac, (path) => template.insert({ mac, name: names.get(mac) ?? mac, path }));
    } finally {
      slots.release();
    }
  });
  await Promise.allSettled(runs);
  signal?.throwIfAborted();
  const { summary } = download;
  return { ...summary, failed: summary.failed + connectors.length - known.length };
}
