import { createHash } from 'node:crypto';
import { setTimeout } from 'node:timers/promises';
import { RelayClient } from '../../index.ts';
import type { DemoDataset } from './datasets.ts';

export type Pattern = 'A' | 'B' | 'C';

/** What one transfer took, seen from the app. */
export interface Measurement {
  readonly firstByteMs: number;
  /** Bytes per second from the request to the last byte. */
  readonly rate: number;
  /** How far the router's resident memory rose over what it was before, in bytes; undefined where the system does not tell. */
  readonly memoryBytes: number | undefined;
  readonly verified: boolean;
}

/** Between two looks at the router's memory, in ms. */
const SAMPLE_MS = 25;

/** Gets a dataset once and measures it. */
export async function measure(url: string, mac: string, dataset: DemoDataset, pattern: Pattern): Promise<Measurement> {
  const client = new RelayClient({ baseUrl: url });
  const resting = await readMemory(url);
  const watching = watchMemory(url);
  const hash = createHash('sha256');
  const begun = performance.now();
  let firstByteAt: number | undefined;
  let size = 0;
  for await (const piece of await open(client, mac, dataset.name, pattern)) {
    firstByteAt ??= performance.now();
    hash.update(piece);
    size += piece.length;
  }
  const ended = performance.now();
  const peak = await watching.stop();
  return {
    firstByteMs: (firstByteAt ?? ended) - begun,
    rate: (size / (ended - begun)) * 1000,
    memoryBytes: resting === undefined || peak === undefined ? undefined : Math.max(0, peak - resting),
    verified: size === dataset.size && hash.digest('hex') === dataset.sha256,
  };
}

async function open(
  client: RelayClient,
  mac: string,
  name: string,
  pattern: Pattern,
): Promise<ReadableStream<Uint8Array>> {
  if (pattern === 'A') return (await client.requestSyncBytes(mac, name)).body;
  if (pattern === 'B') return (await client.requestStream(mac, name)).body;
  const { download_url } = await client.requestOffload(mac, name);
  const response = await fetch(download_url);
  if (response.body === null || !response.ok) throw new Error(`the store answered ${response.status}`);
  return response.body;
}

/** Looks at the router's memory until it is stopped, and then gives the most that it saw. */
function watchMemory(url: string): { stop(): Promise<number | undefined> } {
  const stopping = new AbortController();
  const watch = async (): Promise<number | undefined> => {
    let peak: number | undefined;
    while (!stopping.signal.aborted) {
      const now = await readMemory(url);
      if (now !== undefined) peak = Math.max(peak ?? 0, now);
      await setTimeout(SAMPLE_MS);
    }
    return peak;
  };
  const watching = watch();
  return {
    stop: () => {
      stopping.abort();
      return watching;
    },
  };
}

async function readMemory(url: string): Promise<number | undefined> {
  const text = await (await fetch(`${url}/metrics`)).text();
  const value = /^process_resident_memory_bytes (\S+)$/m.exec(text)?.[1];
  return value === undefined ? undefined : Number(value);
}
