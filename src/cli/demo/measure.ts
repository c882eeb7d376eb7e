import { createHash } from 'node:crypto';
import { setTimeout } from 'node:timers/promises';
import type { Fetch, RelayClient } from '../../index.ts';

export type Pattern = 'A' | 'B' | 'C';

/** What one transfer took, seen from the app. */
export interface Measurement {
  readonly firstByteMs: number;
  /** Bytes per second from the request to the last byte. */
  readonly rate: number;
  /** How far the router's resident memory rose over what it was before, in bytes; undefined where nobody tells. */
  readonly memoryBytes: number | undefined;
  /** In bytes. */
  readonly size: number;
  /** SHA-256 in hex. */
  readonly sha256: string;
}

/** Whom to ask. */
export interface Target {
  readonly client: RelayClient;
  readonly fetch: Fetch;
  readonly signal?: AbortSignal | undefined;
}

/** Between two looks at the router's memory, in ms. */
const SAMPLE_MS = 25;

/** Gets a dataset once and measures it. In pattern C it is uploaded anew each time. */
export async function measure(target: Target, mac: string, name: string, pattern: Pattern): Promise<Measurement> {
  const resting = await readMemory(target);
  const watching = watchMemory(target);
  const hash = createHash('sha256');
  const begun = performance.now();
  let firstByteAt: number | undefined;
  let size = 0;
  let ended = begun;
  let peak: number | undefined;
  try {
    for await (const piece of await open(target, mac, name, pattern)) {
      firstByteAt ??= performance.now();
      hash.update(piece);
      size += piece.length;
    }
    ended = performance.now();
  } finally {
    peak = await watching.stop();
  }
  return {
    firstByteMs: (firstByteAt ?? ended) - begun,
    rate: (size / (ended - begun)) * 1000,
    memoryBytes: resting === undefined || peak === undefined ? undefined : Math.max(0, peak - resting),
    size,
    sha256: hash.digest('hex'),
  };
}

async function open(
  { client, fetch, signal }: Target,
  mac: string,
  name: string,
  pattern: Pattern,
): Promise<ReadableStream<Uint8Array>> {
  // A digest costs the node a reading of the file, which is not what is measured.
  const options = { signal, wantDigest: false };
  if (pattern === 'A') return (await client.requestSyncBytes(mac, name, options)).body;
  if (pattern === 'B') return (await client.requestStream(mac, name, options)).body;
  const { download_url } = await client.requestOffload(mac, name, { signal, fresh: true, wantDigest: false });
  const response = await fetch(download_url, { ...(signal && { signal }) });
  if (response.body === null || !response.ok) throw new Error(`the store answered ${response.status}`);
  return response.body;
}

/** Looks at the router's memory until it is stopped, and then gives the most that it saw. */
function watchMemory(target: Target): { stop(): Promise<number | undefined> } {
  const stopping = new AbortController();
  const watch = async (): Promise<number | undefined> => {
    let peak: number | undefined;
    while (!stopping.signal.aborted) {
      const now = await readMemory(target);
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

async function readMemory({ client, signal }: Target): Promise<number | undefined> {
  const text = await client.metrics({ signal }).catch(() => '');
  const value = /^process_resident_memory_bytes (\S+)$/m.exec(text)?.[1];
  return value === undefined ? undefined : Number(value);
}
