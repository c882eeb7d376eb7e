import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { type DownloadOptions, type DownloadResult, downloadAll, downloadFleet } from '../../files.ts';
import { type ConnectorInfo, RelayError } from '../../index.ts';
import { type Mac, parseMac } from '../../protocol/mac.ts';
import { parseLabel } from './connectors.ts';
import { formatBytes, formatDuration } from './format.ts';
import { ManyProgress } from './many-progress.ts';
import { wantsProgress } from './progress.ts';
import { Report } from './report.ts';
import type { Session } from './session.ts';

/** `relay app request` of what matches a pattern, of one connector or, with `--connectors`, of many. */
export async function requestMany(session: Session, mac: string, glob: string): Promise<void> {
  const { client, config, io, signal } = session;
  const { output, connectors } = config;
  if (config.json)
    throw new RelayError('usage', 'there is no one JSON answer for many datasets; --report has a line for each');
  if (output === undefined || output === '-') throw new RelayError('usage', 'many datasets need -o DIR to go to');
  const target = resolve(io.surroundings.cwd, output);
  const startedAt = Date.now();
  await using report = config.report === undefined ? undefined : await Report.open(config.report, io);
  using progress = new ManyProgress(io.stderr, wantsProgress(io, config), session.note);
  let lonely: RelayError | undefined;
  let unverified = 0;
  const options: DownloadOptions = {
    signal,
    glob,
    onChange: config.onChange,
    minAgeMs: config.minAgeMs,
    parallel: config.parallel,
    maxParallel: config.maxParallel,
    checksum: config.checksum,
    dryRun: config.dryRun,
    resume: config.resume,
    requireDigest: config.verify,
    retries: config.retry,
    waitMs: config.waitMs,
    fetch: session.fetch,
    stallTimeoutMs: config.stallTimeoutMs,
    onListed: ({ dataset }) => progress.expect(dataset.size),
    onStart: (subject) => progress.start(subject.mac, subject.dataset.name, subject.dataset.size),
    onBytes: (subject, received) => progress.update(subject.mac, subject.dataset.name, received),
    onWarning: (text) => progress.note(text),
    onChoice: (subject, { pattern, reason }) => {
      if (config.verbose) progress.note(`${nameOf(subject.mac, subject.dataset.name)}: request-${pattern}: ${reason}`);
    },
    onRetry: (from, dataset, error, delayMs) => {
      if (config.verbose)
        progress.note(`${nameOf(from, dataset)}: ${error.message}; again in ${formatDuration(delayMs)}`);
    },
    onResult: (result) => {
      progress.end(result.mac, result.dataset, result.size ?? 0);
      report?.add(result);
      if (result.verified === false) unverified += 1;
      if (result.error !== undefined && result.dataset === undefined) lonely = result.error;
      const line = describe(result);
      if (line !== undefined) progress.note(line);
    },
  };
  const summary =
    connectors === undefined
      ? await downloadAll(client, mac, target, options)
      : await downloadFleet(client, await select(session, connectors), target, options);
  await report?.end();
  progress.close();
  const { fetched, present, planned, skipped, failed, bytes } = summary;
  const total = fetched + present + planned + skipped + failed;
  if (connectors === undefined && total === 1 && lonely !== undefined) throw lonely;
  // What is too young today is there tomorrow.
  if (connectors === undefined && total === 0 && config.minAgeMs === 0) {
    throw new RelayError('dataset_not_found', `no dataset of ${mac} matches ${JSON.stringify(glob)}`);
  }
  const counts = config.dryRun
    ? `${planned} to fetch (${formatBytes(bytes)}), ${present} there already, ${failed} failed`
    : `${fetched} fetched (${formatBytes(bytes)} in ${formatDuration(Date.now() - startedAt)}), ${present} there already, ${failed} failed`;
  session.note(skipped > 0 ? `${counts}, ${skipped} changed meanwhile and left out` : counts);
  if (unverified > 0)
    session.note(`${unverified} unverified: their nodes gave no digest (--verify makes this an error)`);
  if (failed > 0)
    throw new RelayError('some_failed', `${failed} of ${total} failed; the same command fetches only what is missing`);
}

const nameOf = (mac: string, dataset: string | undefined): string =>
  dataset === undefined ? mac : `${mac} ${JSON.stringify(dataset).slice(1, -1)}`;

function describe({ mac, dataset, outcome, error, size = 0 }: DownloadResult): string | undefined {
  if (outcome === 'skipped') return `${nameOf(mac, dataset)}: left out, ${error?.message}`;
  if (outcome === 'planned') return `${nameOf(mac, dataset)}: ${formatBytes(size)}, to fetch`;
  return error && `${nameOf(mac, dataset)}: ${error.message} (${error.code})`;
}

type Selected = readonly (ConnectorInfo | Pick<ConnectorInfo, 'mac'>)[];

/** The connectors that `all`, `KEY=VALUE` or a file of MAC addresses stands for. */
async function select({ client, signal, retrying, io }: Session, text: string): Promise<Selected> {
  const isLabel = text.includes('=') && !/[\\/]/.test(text);
  const labels = isLabel ? Object.fromEntries([parseLabel(text)]) : {};
  const listed = text === 'all' || isLabel ? undefined : await readMacs(resolve(io.surroundings.cwd, text));
  const known = await retrying(async () => {
    const all: ConnectorInfo[] = [];
    for await (const connector of client.connectors({ labels, signal })) all.push(connector);
    return all;
  });
  if (listed === undefined) {
    if (known.length === 0)
      throw new RelayError('connector_not_found', `no connector is known that --connectors ${text} means`);
    return known;
  }
  const byMac = new Map<string, ConnectorInfo>(known.map((connector) => [connector.mac, connector]));
  return listed.map((mac) => byMac.get(mac) ?? { mac });
}

/** MAC addresses, one a line, each once; what follows a `#` is a comment. */
async function readMacs(file: string): Promise<Mac[]> {
  const text = await readFile(file, 'utf8').catch((cause: unknown) => {
    throw new RelayError(
      'usage',
      `--connectors: ${JSON.stringify(file)} cannot be read, and is neither all nor KEY=VALUE`,
      {
        cause,
      },
    );
  });
  const macs = new Set<Mac>();
  for (const [index, line] of text.split('\n').entries()) {
    const word = line.replace(/#.*$/, '').trim();
    if (word === '') continue;
    const mac = parseMac(word);
    if (mac instanceof RelayError) throw new RelayError('usage', `${file}, line ${index + 1}: ${mac.message}`);
    macs.add(mac);
  }
  if (macs.size === 0) throw new RelayError('usage', `--connectors: there is no MAC address in ${file}`);
  return [...macs];
}
