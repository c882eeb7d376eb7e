import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import type { ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { saveTo } from '../../../src/client/save.ts';
import { readSideBySide } from '../../../src/client/side-by-side.ts';
import { addSpan, countBytes, type Span } from '../../../src/client/spans.ts';
import { type DatasetResponse, RelayClient, type StreamOptions } from '../../../src/index.ts';
import {
  digestOf,
  failureOf,
  MAC,
  makeBytes,
  readAll,
  type Seen,
  sendJson,
  sendProblem,
  serve,
  statusOf,
} from './stub-server.ts';

const MIB = 1024 * 1024;
const SIZE = 24 * MIB + 12_345;
const bytes = makeBytes(SIZE);
const ETAG = '"v1"';
const FAR_MS = 20;

/** How a router of this file answers a part; the default sends it. */
type PartHandler = (span: Span, response: ServerResponse, send: () => void) => void;

/** A router with one dataset. The whole comes as far as the client reads, and parts of it as a test has it. */
async function startRouter(onPart: PartHandler = (_, _response, send) => send()) {
  const parts: Span[] = [];
  const open = new Set<ServerResponse>();
  let mostOpen = 0;
  const server = await serve(({ method, url, headers }: Seen, response) => {
    if (url === '/datasets/request-digest')
      return sendJson(response, 200, { size: SIZE, etag: ETAG, digest: digestOf(bytes) });
    if (url.startsWith('/requests/')) return sendJson(response, 200, statusOf('done', { digest: digestOf(bytes) }));
    if (url === '/healthz') return void response.end('{}');
    open.add(response);
    mostOpen = Math.max(mostOpen, open.size);
    response.on('close', () => open.delete(response));
    const common = { ETag: ETAG, 'Relay-Total-Size': SIZE };
    if (method === 'POST') {
      response.writeHead(200, { ...common, 'Content-Length': SIZE });
      return void response.end(bytes);
    }
    const [, first, last] = /^bytes=(\d+)-(\d*)$/.exec(headers.range ?? '') ?? [];
    const span: Span = [Number(first), last === '' ? SIZE : Number(last) + 1];
    expect(headers['if-match']).toBe(ETAG);
    parts.push(span);
    onPart(span, response, () => {
      sendHead(response, span);
      response.end(bytes.subarray(...span));
    });
  });
  const requestStream = (options: StreamOptions = {}, roundTripMs = FAR_MS): Promise<DatasetResponse> =>
    new RelayClient({ baseUrl: server.url, roundTripMs: () => roundTripMs }).requestStream(MAC, 'a', options);
  return Object.assign(server, { parts, open, requestStream, mostOpen: () => mostOpen });
}

function sendHead(response: ServerResponse, [start, end]: Span): void {
  response.writeHead(206, {
    ETag: ETAG,
    'Content-Range': `bytes ${start}-${end - 1}/${SIZE}`,
    'Content-Length': end - start,
  });
}

/** Bytes that were asked for; those of a part that came slowly, and was asked for again, once. */
const countAsked = (spans: readonly Span[]): number =>
  countBytes(spans.reduce<Span[]>((asked, span) => addSpan(asked, span), []));

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'relay-side-by-side-'));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

describe('a large dataset of a router far away', () => {
  test('comes in order by several connections, no part twice, with the digest of the whole', async () => {
    const held: (() => void)[] = [];
    await using relay = await startRouter((_, _response, send) => {
      if (relay.parts.length === 1 || relay.parts.length > 4) return send();
      // None of these is answered before all are asked for.
      held.push(send);
      if (held.length === 3) for (const answer of held) answer();
    });
    const stream = await relay.requestStream();
    expect((await readAll(stream.body)).equals(bytes)).toBe(true);
    expect(await stream.digest()).toBe(digestOf(bytes));
    expect(relay.mostOpen()).toBeGreaterThan(2);
    expect(relay.mostOpen()).toBeLessThanOrEqual(16);
    expect(countAsked(relay.parts)).toBeLessThan(SIZE);
    expect(new Set(relay.parts.map(([start]) => start)).size).toBe(relay.parts.length);
    expect(relay.seen.filter(({ url }) => url === '/datasets/request-digest')).toHaveLength(1);
  });

  test.each([
    ['the router is near', {}, 1],
    ['only one connection is wanted', { parallel: 1 }, FAR_MS],
  ])('comes by one where %s', async (_, options, roundTripMs) => {
    await using relay = await startRouter();
    const stream = await relay.requestStream(options, roundTripMs);
    expect((await readAll(stream.body)).equals(bytes)).toBe(true);
    expect(await stream.digest()).toBe(digestOf(bytes));
    expect(relay.parts).toEqual([]);
    expect(relay.mostOpen()).toBe(1);
  });

  test('comes by no more connections than are wanted', async () => {
    await using relay = await startRouter();
    expect((await readAll((await relay.requestStream({ parallel: 3 })).body)).equals(bytes)).toBe(true);
    expect(relay.parts.length).toBeGreaterThan(2);
    // The first response may still be ending when a part takes its place.
    expect(relay.mostOpen()).toBeLessThanOrEqual(4);
  });

  test.each([
    ['sends no parts', (response: ServerResponse) => response.writeHead(200, { ETag: ETAG }).end(bytes)],
    [
      'refuses them',
      (response: ServerResponse) => sendProblem(response, 429, 'too_many_requests', { retryable: true }),
    ],
  ])('comes by one where the router %s', async (_, answer) => {
    await using relay = await startRouter((_span, response) => answer(response));
    const stream = await relay.requestStream();
    expect((await readAll(stream.body)).equals(bytes)).toBe(true);
    expect(await stream.digest()).toBe(digestOf(bytes));
    expect(relay.parts).toHaveLength(1);
  });

  test('goes on by fewer connections where the router takes no more', async () => {
    await using relay = await startRouter((_, response, send) => {
      if (relay.open.size > 3) sendProblem(response, 429, 'too_many_requests', { retryable: true });
      else send();
    });
    expect((await readAll((await relay.requestStream()).body)).equals(bytes)).toBe(true);
  });

  test('goes on with each part where it broke off, and says so', async () => {
    let broken = 0;
    await using relay = await startRouter((span, response, send) => {
      if (relay.parts.length === 1 || broken === 3) return send();
      broken += 1;
      sendHead(response, span);
      response.write(bytes.subarray(span[0], span[0] + 1000), () => response.socket?.resetAndDestroy());
    });
    const interruptions: number[] = [];
    const stream = await relay.requestStream({ onInterruption: (_, offset) => interruptions.push(offset) });
    expect((await readAll(stream.body)).equals(bytes)).toBe(true);
    expect(broken).toBe(3);
    expect(interruptions.length).toBeGreaterThan(0);
  });

  test('fails when it is another by now, and lets go of everything', async () => {
    await using relay = await startRouter((_, response, send) => {
      if (relay.parts.length === 1) send();
      else sendProblem(response, 412, 'precondition_failed');
    });
    const stream = await relay.requestStream();
    expect(await failureOf(readAll(stream.body))).toMatchObject({ code: 'dataset_changed' });
    await Promise.all(Array.from(relay.open, (response) => once(response, 'close')));
  });

  test('is let go of, all of it, when its body is cancelled', async () => {
    const asked = Promise.withResolvers<void>();
    await using relay = await startRouter((span, response) => {
      sendHead(response, span);
      response.write(bytes.subarray(span[0], span[0] + 1000));
      if (relay.parts.length === 4) asked.resolve();
    });
    const reader = (await relay.requestStream()).body.getReader();
    await reader.read();
    await asked.promise;
    await reader.cancel();
    await Promise.all(Array.from(relay.open, (response) => once(response, 'close')));
    expect(relay.open.size).toBe(0);
  });

  test('has a part asked for again that stands still while the others are through', async () => {
    let stuck: Span | undefined;
    await using relay = await startRouter((span, response, send) => {
      if (relay.parts.length < 3 || stuck !== undefined) return send();
      stuck = span;
      sendHead(response, span);
      response.write(bytes.subarray(span[0], span[0] + 1000));
    });
    expect((await readAll((await relay.requestStream()).body)).equals(bytes)).toBe(true);
    expect(relay.parts.filter(([, end]) => end === stuck?.[1]).length).toBeGreaterThan(1);
  });
});

test('what comes ahead of its turn is bounded while nobody reads', async () => {
  const size = 400 * MIB;
  const piece = new Uint8Array(MIB);
  const asked: Span[] = [];
  const pour = ([start, end]: Span): ReadableStream<Uint8Array> => {
    let at = start;
    return new ReadableStream(
      {
        pull(controller) {
          controller.enqueue(piece.subarray(0, Math.min(piece.length, end - at)));
          at += piece.length;
          if (at >= end) controller.close();
        },
      },
      { highWaterMark: 0 },
    );
  };
  const idle = Promise.withResolvers<void>();
  const body = readSideBySide({
    first: pour([0, size]),
    offset: 0,
    size,
    most: 16,
    signal: undefined,
    whereFar: () => Promise.resolve(FAR_MS),
    openPart: (span) => {
      asked.push(span);
      if (span[1] > 60 * MIB) idle.resolve();
      return Promise.resolve(pour(span));
    },
    ask: () => Promise.resolve(),
    onWide: () => Promise.resolve(),
  });
  const reader = body.getReader();
  let read = 0;
  const readTo = async (end: number): Promise<void> => {
    while (read < end) read += (await reader.read()).value?.length ?? 0;
  };
  await readTo(4 * MIB);
  await idle.promise;
  expect(Math.max(...asked.map(([, end]) => end))).toBeLessThanOrEqual(read + 64 * MIB);
  await readTo(100 * MIB);
  expect(Math.max(...asked.map(([, end]) => end))).toBeLessThanOrEqual(read + 64 * MIB);
  await readTo(size);
  expect((await reader.read()).done).toBe(true);
});

describe('into a file', () => {
  test('parts go to their places, and the whole is verified', async () => {
    await using relay = await startRouter();
    const receipt = await saveTo(join(directory, 'out'), await relay.requestStream());
    expect(receipt).toEqual({ size: SIZE, digest: digestOf(bytes), verified: true });
    expect((await readFile(join(directory, 'out'))).equals(bytes)).toBe(true);
    expect(await readdir(directory)).toEqual(['out']);
    expect(relay.parts.length).toBeGreaterThan(2);
  });

  test('only what is missing comes after a transfer that broke off', async () => {
    const enough = new AbortController();
    await using relay = await startRouter((_, _response, send) => {
      // The third part never comes, and others do.
      if (relay.parts.length !== 3) send();
      if (relay.parts.length === 5) enough.abort(new Error('killed'));
    });
    const target = join(directory, 'out');
    const save = (signal?: AbortSignal) =>
      saveTo(target, (known) => relay.requestStream({ known, signal, parallel: 4 }), {
        signal,
        resume: { from: 'here' },
      });
    expect((await failureOf(save(enough.signal))).message).toBe('killed');
    const before = relay.parts.length;
    expect(await save()).toMatchObject({ size: SIZE, verified: true });
    const [rest, ...others] = relay.parts.slice(before);
    expect(rest?.[0]).toBeGreaterThan(0);
    expect(countAsked(others)).toBeLessThan(SIZE - (rest?.[0] ?? 0));
    expect((await readFile(target)).equals(bytes)).toBe(true);
    expect(await readdir(directory)).toEqual(['out']);
  });
});
