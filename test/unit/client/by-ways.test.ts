import { describe, expect, test } from '@jest/globals';
import type { ServerResponse } from 'node:http';
import { openByWays, tryWays } from '../../../src/client/by-ways.ts';
import { Ways } from '../../../src/client/ways.ts';
import { type PatternChoice, RelayClient, RelayError } from '../../../src/index.ts';
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

const BYTES = makeBytes(200_000);
const CUT = 70_000;
const SUBJECT = { mac: MAC, dataset: 'a.bin' };
const MIB = 1024 * 1024;

type Answer = (request: Seen, response: ServerResponse) => void;

/** What each way to the dataset answers. */
interface Scene {
  readonly stream?: Answer;
  /** The rest of it, or a part. */
  readonly range?: Answer;
  readonly offload?: Answer;
  readonly store?: Answer;
  readonly sync?: Answer;
}

const head = { ETag: '"v"', 'Content-Length': BYTES.length };

/** Sends the beginning and then cuts the connection. */
const cut: Answer = (_, response) => {
  response.writeHead(200, head);
  response.write(BYTES.subarray(0, CUT), () => response.socket?.destroy());
};

/** Sends what is asked for, by its range or whole. */
const send: Answer = ({ headers: { range } }, response) => {
  const start = Number(/^bytes=(\d+)-/.exec(range ?? '')?.[1] ?? 0);
  if (range === undefined) {
    response.writeHead(200, { ...head, 'Repr-Digest': digestOf(BYTES) }).end(BYTES);
    return;
  }
  const last = BYTES.length - 1;
  const content = `bytes ${start}-${last}/${BYTES.length}`;
  response.writeHead(206, { ETag: '"v"', 'Content-Range': content, 'Content-Length': BYTES.length - start });
  response.end(BYTES.subarray(start));
};

const refuse =
  (status: number, code: string): Answer =>
  (_, response) =>
    sendProblem(response, status, code);

const point: Answer = ({ headers: { host } }, response) =>
  sendJson(response, 200, {
    status: 'success',
    download_url: `http://${host}/object`,
    size: BYTES.length,
    etag: '"v"',
    digest: digestOf(BYTES),
  });

const serveScene = ({
  stream = send,
  // Its node can send the whole only.
  range = (_, response) => response.writeHead(200, head).end(BYTES),
  offload = refuse(501, 'offload_unavailable'),
  store = send,
  sync = refuse(501, 'not_supported'),
}: Scene) =>
  serve((request, response) => {
    const { url } = request;
    if (url === '/datasets/request-stream') return stream(request, response);
    if (url === '/datasets/request-offload') return offload(request, response);
    if (url === '/datasets/request-sync') return sync(request, response);
    if (url === '/datasets/request-digest')
      return sendJson(response, 200, { size: BYTES.length, etag: '"v"', digest: digestOf(BYTES) });
    if (url === '/object') return store(request, response);
    if (url.startsWith('/requests/')) return sendJson(response, 200, statusOf('done', {}));
    return range(request, response);
  });

/** Opens the dataset and reads it to its end. */
async function fetchAll(url: string, ways: Ways) {
  const interruptions: number[] = [];
  const client = new RelayClient({ baseUrl: url });
  const onInterruption = (_: Error, offset: number): unknown => interruptions.push(offset);
  const content = await openByWays(client, SUBJECT, ways, { onInterruption });
  const bytes = await readAll(content.body);
  return { isRight: bytes.equals(BYTES), digest: await content.digest(), interruptions };
}

/** Ways that note what is chosen. */
function watched(): { ways: Ways; taken: string[] } {
  const taken: string[] = [];
  return { ways: new Ways({}, ({ pattern }: PatternChoice) => taken.push(pattern)), taken };
}

const RIGHT = { isRight: true, digest: digestOf(BYTES) };
const rangesOf = (seen: readonly Seen[], path: string) =>
  seen.filter(({ url }) => url === path).map(({ headers }) => headers.range);

describe('a dataset whose way breaks down', () => {
  test('comes by one request where nothing does', async () => {
    await using relay = await serveScene({});
    const { ways, taken } = watched();
    expect(await fetchAll(relay.url, ways)).toMatchObject({ ...RIGHT, interruptions: [] });
    expect(taken).toEqual(['stream']);
    expect(relay.seen.map(({ url }) => url)).toEqual(['/datasets/request-stream']);
  });

  test('goes on by the store at the byte where the stream was', async () => {
    await using relay = await serveScene({ stream: cut, offload: point });
    const { ways, taken } = watched();
    const { interruptions, ...result } = await fetchAll(relay.url, ways);
    expect(result).toEqual(RIGHT);
    expect(taken).toEqual(['stream', 'offload']);
    const at = interruptions.at(-1);
    expect(at).toBeLessThanOrEqual(CUT);
    expect(rangesOf(relay.seen, '/object')).toEqual([at === 0 ? undefined : `bytes=${at}-${BYTES.length - 1}`]);
  });

  test('goes on by a stream where the store has it no more', async () => {
    let isFirst = true;
    const store: Answer = (request, response) => {
      if (!isFirst) return sendProblem(response, 404, 'dataset_not_found');
      isFirst = false;
      cut(request, response);
    };
    await using relay = await serveScene({ range: send, offload: point, store });
    const { ways, taken } = watched();
    ways.learn({ size: 64 * MIB, isStored: true });
    expect(await fetchAll(relay.url, ways)).toMatchObject(RIGHT);
    expect(taken).toEqual(['offload', 'stream']);
    expect(rangesOf(relay.seen, `/connectors/${MAC}/datasets/a.bin`)).toEqual([expect.stringMatching(/^bytes=\d+-$/)]);
  });

  test('leaves out what is there already of a way that only has the whole', async () => {
    await using relay = await serveScene({ stream: cut, sync: send });
    const { ways, taken } = watched();
    expect(await fetchAll(relay.url, ways)).toMatchObject(RIGHT);
    expect(taken).toEqual(['stream', 'offload', 'sync']);
  });

  test('fails as the stream did where no way is left, and says what changed where that is so', async () => {
    await using relay = await serveScene({ stream: cut });
    expect(await failureOf(fetchAll(relay.url, new Ways()))).toMatchObject({ code: 'transfer_interrupted' });
    const another: Answer = (request, response) =>
      sendJson(response, 200, {
        status: 'success',
        download_url: `http://${request.headers.host}/object`,
        size: BYTES.length,
        etag: '"other"',
      });
    await using changed = await serveScene({ stream: cut, offload: another });
    expect(await failureOf(fetchAll(changed.url, new Ways()))).toMatchObject({ code: 'dataset_changed' });
  });
});

describe('what a router tells of the store', () => {
  const large: Answer = (_, response) => {
    const size = 64 * MIB;
    response.writeHead(200, { ETag: '"v"', 'Content-Length': size, 'Relay-Offload': 'available;stored;stream=1000' });
    response.write(BYTES);
  };

  test('leads there before any byte is read, and lets go of the stream', async () => {
    await using relay = await serveScene({ stream: large, offload: point });
    const { ways, taken } = watched();
    expect(await fetchAll(relay.url, ways)).toMatchObject({ ...RIGHT, interruptions: [] });
    expect(taken).toEqual(['stream', 'offload']);
    // The next one knows it at once.
    await tryWays(ways, () => fetchAll(relay.url, ways));
    expect(relay.seen.filter(({ url }) => url === '/datasets/request-stream')).toHaveLength(1);
  });

  test('does not lead there again where it failed', async () => {
    let streams = 0;
    const stream: Answer = (request, response) => {
      streams += 1;
      if (streams === 1) large(request, response);
      else send(request, response);
    };
    await using relay = await serveScene({ stream, offload: refuse(503, 'store_unavailable') });
    const { ways, taken } = watched();
    expect(await fetchAll(relay.url, ways)).toMatchObject(RIGHT);
    expect(taken).toEqual(['stream', 'offload', 'stream']);
  });
});

describe('a work by ways', () => {
  test('is tried by each in turn, unless bytes are out that cannot be taken back', async () => {
    const tried: string[] = [];
    const ways = new Ways();
    const attempt = async (): Promise<void> => {
      tried.push(ways.current);
      throw new RelayError('connector_failed', `by ${ways.current}`);
    };
    expect(await failureOf(tryWays(ways, attempt, { mayRetry: () => false }))).toMatchObject({ message: 'by stream' });
    expect(tried.splice(0)).toEqual(['stream']);
    expect(await failureOf(tryWays(ways, attempt))).toMatchObject({ message: 'by stream' });
    expect(tried.splice(0)).toEqual(['stream', 'offload', 'sync']);
    // Asked anew, it begins with the first again.
    await failureOf(tryWays(ways, attempt));
    expect(tried[0]).toBe('stream');
  });

  test('is not helped by another way where it was its own failure', async () => {
    await using relay = await serveScene({ stream: refuse(404, 'dataset_not_found') });
    const ways = new Ways();
    expect(await failureOf(tryWays(ways, () => fetchAll(relay.url, ways)))).toMatchObject({
      code: 'dataset_not_found',
    });
    expect(relay.seen).toHaveLength(1);
  });
});
