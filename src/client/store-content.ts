import { PartLanes } from '../http/part-lanes.ts';
import { Width } from '../http/width.ts';
import type { OffloadAnswer } from '../protocol/app.ts';
import { type Known, type PartsContent, readTime, skipping, type WriteAt } from './content.ts';
import { cutSpan, findGaps, type Span } from './spans.ts';
import { pause } from './pause.ts';
import { RoundTrip } from './round-trip.ts';
import { StoreReader, type StoreReaderOptions } from './store-reader.ts';

const MIB = 1024 * 1024;

/** How many parts are fetched at once where the store is near. */
const NEAR = 4;

/** What is left of a part is divided where it is this much of one: less is here before another connection has it. */
const DIVISIBLE = 1 / 8;

/** A part that is being fetched. */
interface Run {
  /** Where its next byte belongs. */
  at: number;
  end: number;
  /** Another connection fetches what comes after its end. */
  isCut: boolean;
}

/** How to download from a store. The URLs are signed, so no token goes there. */
export interface DownloadOptions extends StoreReaderOptions {
  readonly signal?: AbortSignal | undefined;
  /** What is there already. Where it is of the same content, `body` is the rest. */
  readonly known?: Known | undefined;
  /** From this size on the parts of a file are fetched in parallel, in bytes. Default 64 MiB. */
  readonly largeBytes?: number | undefined;
  /** Size of the parts. Default 16 MiB. */
  readonly partBytes?: number | undefined;
  /** How many parts are fetched at once at most. Default 16: four where the store is near, as many as bring more where it is far. */
  readonly parallel?: number | undefined;
}

/** A dataset in a store: to be read either in order by `body`, or, where the place it goes to allows, by `writeParts`. */
export type StoreContent = PartsContent;

/**
 * The dataset that an offload answer points to. Nothing is fetched before it is read. What breaks off goes on where it
 * was, as long as the store holds the same object.
 */
export function downloadOffloaded(answer: OffloadAnswer, options: DownloadOptions = {}): StoreContent {
  const { signal, known, largeBytes = 64 * MIB, partBytes = 16 * MIB, parallel = 16 } = options;
  const { size, etag } = answer;
  const reader = new StoreReader(answer.download_url, options);
  const offset = known !== undefined && known.etag === etag && known.size === size ? known.offset : 0;
  return {
    size,
    etag,
    offset,
    lastModified: readTime(answer.last_modified),
    isLarge: size !== undefined && size >= largeBytes,
    body: toStream(reader, offset, size, signal),
    digest: () => Promise.resolve(answer.digest),
    ...(answer.on_change !== undefined && { currentSize: () => Promise.resolve(answer.current_size) }),
    writeParts: (write, partsSignal = signal, there = []) =>
      size === undefined
        ? copy(reader.read(0, undefined, partsSignal), 0, write)
        : writeParts(reader, { size, there, partBytes, parallel, signal: partsSignal }, write),
  };
}

function toStream(
  reader: StoreReader,
  offset: number,
  size: number | undefined,
  signal: AbortSignal | undefined,
): ReadableStream<Uint8Array> {
  const stopped = new AbortController();
  const pieces = reader.read(offset, size, signal ? AbortSignal.any([signal, stopped.signal]) : stopped.signal);
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const { done, value } = await pieces.next();
        if (done) controller.close();
        else controller.enqueue(value);
      },
      cancel: (reason) => stopped.abort(reason),
    },
    { highWaterMark: 0 },
  );
}

interface PartsOptions {
  readonly size: number;
  readonly there: readonly Span[];
  readonly partBytes: number;
  readonly parallel: number;
  readonly signal: AbortSignal | undefined;
}

async function writeParts(
  reader: StoreReader,
  { size, there, partBytes, parallel, signal }: PartsOptions,
  write: WriteAt,
): Promise<void> {
  const parts = findGaps(there, [0, size]).flatMap((gap) => cutSpan(gap, partBytes));
  const [begin] = parts;
  if (begin === undefined) return;
  const stopped = new AbortController();
  const inner = signal ? AbortSignal.any([signal, stopped.signal]) : stopped.signal;
  // The first answer says whether there are ranges at all, and which object it is that the others must be parts of.
  const first = await reader.open({ start: begin[0], end: begin[1] }, inner);
  if (!first.isPart) return copy(reader.read(0, size, inner, first.response), 0, skipping(there, write));
  let width: Width | undefined;
  // Of many, one until it is known how far the store is: others would fill the line that is measured.
  const isAsked = parts.length > NEAR && parallel > NEAR;
  let most = isAsked ? 1 : NEAR;
  const lanes = new PartLanes(() => Math.min(parallel, width?.value ?? most));
  const take: WriteAt = async (bytes, offset) => {
    const { length } = bytes;
    await write(bytes, offset);
    width?.note(length, performance.now());
    lanes.wake();
  };
  const over = new AbortController();
  const goOn = (found?: Width): void => {
    width = found;
    most = NEAR;
    lanes.wake();
  };
  const probed = AbortSignal.any([inner, over.signal]);
  // What cannot be measured counts as near.
  const probing = isAsked && probeStore(reader, parallel, probed, goOn).catch(() => goOn(width));
  try {
    const running = new Set<Run>();
    const fetchSpan = async ([start, end]: Span, response?: Response): Promise<void> => {
      const run = { at: start, end, isCut: false };
      running.add(run);
      try {
        await copyRun(reader.read(start, end, inner, response), run, take);
      } finally {
        running.delete(run);
      }
    };
    let begun = 0;
    await lanes.run(parts.length, stopped, async (index) => {
      begun += 1;
      await fetchSpan(parts[index] as Span, index === 0 ? first.response : undefined);
      // Where the store is far, the last parts may come by the connections that lost most: those that are done help.
      const help = (): Span | undefined =>
        begun === parts.length && width !== undefined ? takeHalf(running, DIVISIBLE * partBytes) : undefined;
      for (let span = help(); span !== undefined; span = help()) await fetchSpan(span);
    });
  } finally {
    over.abort();
    await probing;
  }
}

/**
 * Finds out whether a store is far, and, where it is, measures on and on whether what comes waits in a queue on its way.
 * @param begin called once that is known, with what says how many parts there should be at once where it is far.
 */
async function probeStore(
  reader: StoreReader,
  most: number,
  signal: AbortSignal,
  begin: (width?: Width) => void,
): Promise<void> {
  const trip = new RoundTrip(undefined);
  const ask = async (): Promise<number> => {
    const askedAt = performance.now();
    await reader.ask(signal);
    const ms = performance.now() - askedAt;
    trip.note(ms);
    return ms;
  };
  const roundTripMs = await trip.whereFar(ask);
  if (roundTripMs === undefined) return begin();
  const width = new Width({ most, roundTripMs, rate: undefined, now: performance.now() });
  begin(width);
  for (;;) {
    await pause(roundTripMs, signal);
    width.noteRoundTrip(await ask());
  }
}

/** Takes the second half of what is left of the longest part, if that is so many bytes. */
function takeHalf(running: ReadonlySet<Run>, least: number): Span | undefined {
  let longest: Run | undefined;
  for (const run of running) if (longest === undefined || run.end - run.at > longest.end - longest.at) longest = run;
  if (longest === undefined || longest.end - longest.at < least) return undefined;
  const { at, end } = longest;
  longest.end = at + Math.ceil((end - at) / 2);
  longest.isCut = true;
  return [longest.end, end];
}

/** Writes a part, up to the end that it has by then. */
async function copyRun(pieces: AsyncIterable<Uint8Array>, run: Run, write: WriteAt): Promise<void> {
  for await (const piece of pieces) {
    const bytes = piece.subarray(0, run.end - run.at);
    const offset = run.at;
    // Before it is written, so that nobody else takes it meanwhile.
    run.at += bytes.length;
    await write(bytes.length === piece.length ? piece : bytes, offset);
    if (run.isCut && run.at === run.end) return;
  }
}

async function copy(pieces: AsyncIterable<Uint8Array>, start: number, write: WriteAt): Promise<void> {
  let offset = start;
  for await (const piece of pieces) {
    const { length } = piece;
    await write(piece, offset);
    offset += length;
  }
}
