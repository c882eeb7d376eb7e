import { once } from 'node:events';
import { describe, expect, test } from '@jest/globals';
import { RelayClient, type RequestStatus } from '../../../src/index.ts';
import {
  digestOf,
  failureOf,
  type Handler,
  MAC,
  REQUEST_ID,
  type Seen,
  sendJson,
  sendProblem,
  serve,
  statusOf,
} from './stub-server.ts';

const done = (url: string): object =>
  statusOf('done', { total_size: 3, digest: digestOf('abc'), etag: '"v"', download_url: `${url}/store/x` });

async function withClient(handler: Handler) {
  const server = await serve(handler);
  return {
    ...server,
    client: new RelayClient({ baseUrl: server.url }),
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

describe('request-offload', () => {
  test('polls until the upload is done, and tells how far it is', async () => {
    const answers = [statusOf('running', { bytes_done: 1 }), statusOf('running', { bytes_done: 2 })];
    await using relay = await withClient(({ method }, response) => {
      if (method === 'POST') sendJson(response, 202, statusOf('waiting'));
      else sendJson(response, 200, answers.shift() ?? done('http://store.example'));
    });
    const told: RequestStatus[] = [];
    const answer = await relay.client.requestOffload(MAC, 'a', { onProgress: (status) => told.push(status) });
    expect(answer).toEqual({
      status: 'success',
      download_url: 'http://store.example/store/x',
      size: 3,
      etag: '"v"',
      digest: digestOf('abc'),
    });
    expect(told.map(({ state, bytes_done }) => [state, bytes_done])).toEqual([
      ['waiting', 0],
      ['running', 1],
      ['running', 2],
      ['done', 0],
    ]);
    expect(relay.seen[0]).toMatchObject({ url: '/datasets/request-offload', headers: { prefer: 'respond-async' } });
    expect(relay.seen[1]?.url).toBe(`/requests/${REQUEST_ID}?wait=1`);
  });

  test('takes the answer of a router that does not do it asynchronously', async () => {
    const answer = { status: 'success', download_url: 'http://store.example/x', size: 3 };
    await using relay = await withClient((_, response) => sendJson(response, 200, answer));
    expect(await relay.client.requestOffload(MAC, 'a', { wantDigest: false })).toEqual(answer);
    expect(relay.seen).toHaveLength(1);
    expect(relay.seen[0]?.headers).not.toHaveProperty('want-repr-digest');
  });

  test.each([
    ['takes the digest from the node where the store’s object was sent without one', { etag: '"v"', size: 3 }, true],
    ['takes no digest of another version', { etag: '"w"', size: 3 }, false],
    ['does without where the node gives none', undefined, false],
  ])('%s', async (_name, found, isTaken) => {
    const answer = { status: 'success', download_url: 'http://store.example/x', size: 3, etag: '"v"' };
    await using relay = await withClient(({ url }, response) => {
      if (url === '/datasets/request-offload') sendJson(response, 200, answer);
      else if (found !== undefined) sendJson(response, 200, { ...found, digest: digestOf('abc') });
      else sendProblem(response, 503, 'connector_offline');
    });
    const expected = { ...answer, ...(isTaken && { digest: digestOf('abc') }) };
    expect(await relay.client.requestOffload(MAC, 'a')).toEqual(expected);
    expect(relay.seen[0]?.headers).toHaveProperty('want-repr-digest');
  });

  test('fails as the request did', async () => {
    await using relay = await withClient(({ method }, response) => {
      if (method === 'POST') sendJson(response, 202, statusOf('waiting'));
      else
        sendJson(
          response,
          200,
          statusOf('failed', { error: { code: 'store_full', retryable: false, detail: 'full' } }),
        );
    });
    expect(await failureOf(relay.client.requestOffload(MAC, 'a'))).toMatchObject({
      code: 'store_full',
      message: 'full',
      details: { request_id: REQUEST_ID },
    });
  });

  test('cancels at the router when the signal fires', async () => {
    const polled = Promise.withResolvers<void>();
    await using relay = await withClient(({ method }, response) => {
      if (method === 'POST') sendJson(response, 202, statusOf('waiting'));
      else if (method === 'GET') polled.resolve();
      else response.writeHead(204).end();
    });
    const stop = new AbortController();
    const failure = failureOf(relay.client.requestOffload(MAC, 'a', { signal: stop.signal }));
    await polled.promise;
    const reason = new Error('enough');
    stop.abort(reason);
    expect(await failure).toBe(reason);
    expect(relay.seen.at(-1)).toMatchObject({ method: 'DELETE', url: `/requests/${REQUEST_ID}` });
  });

  test('cancels also what was begun just when the signal fired', async () => {
    const asked = Promise.withResolvers<() => void>();
    await using relay = await withClient(({ method }, response) => {
      if (method === 'POST') asked.resolve(() => sendJson(response, 202, statusOf('waiting')));
      else response.writeHead(204).end();
    });
    const stop = new AbortController();
    const failure = failureOf(relay.client.requestOffload(MAC, 'a', { signal: stop.signal }));
    const answer = await asked.promise;
    stop.abort(new Error('enough'));
    answer();
    expect((await failure).message).toBe('enough');
    expect(relay.seen.map(({ method }) => method)).toEqual(['POST', 'DELETE']);
  });

  test('polls again after a poll that broke off, since the request goes on', async () => {
    let polls = 0;
    await using relay = await withClient(({ method }, response) => {
      polls += method === 'GET' ? 1 : 0;
      if (method === 'POST') sendJson(response, 202, statusOf('waiting'));
      else if (polls === 1) response.destroy();
      else if (polls === 2) response.writeHead(504).end('<h1>Gateway Time-out</h1>');
      else sendJson(response, 200, done('http://store.example'));
    });
    expect(await relay.client.requestOffload(MAC, 'a')).toMatchObject({ status: 'success' });
    expect(polls).toBe(3);
  });

  test('gives up on a router that stays away', async () => {
    await using relay = await withClient(({ method }, response) => {
      if (method === 'POST') sendJson(response, 202, statusOf('waiting'));
      else response.destroy();
    });
    const failure = failureOf(relay.client.requestOffload(MAC, 'a', { unreachableMs: 0 }));
    expect(await failure).toMatchObject({ code: 'router_unreachable' });
  });

  test('asks anew when the router has restarted and forgotten', async () => {
    let asked = 0;
    await using relay = await withClient(({ method }, response) => {
      asked += method === 'POST' ? 1 : 0;
      if (method === 'POST') sendJson(response, 202, statusOf('waiting'));
      else if (asked === 1) sendProblem(response, 410, 'request_gone', { retryable: true });
      else sendJson(response, 200, done('http://store.example'));
    });
    expect(await relay.client.requestOffload(MAC, 'a')).toMatchObject({ status: 'success' });
    expect(asked).toBe(2);
  });

  test('asks such a router for the same beginning of a dataset that grows, and says where that is gone', async () => {
    const asked: unknown[] = [];
    const tagged = { etag: '"prefix-3-x"', on_change: 'prefix' };
    await using relay = await withClient(({ method }, response) => {
      if (method !== 'POST') sendProblem(response, 410, 'request_gone', { retryable: true });
      else if (asked.push(relay.seen.at(-1)?.headers['if-match']) === 1)
        sendJson(response, 202, statusOf('running', tagged));
      else sendProblem(response, 412, 'precondition_failed');
    });
    const asking = relay.client.requestOffload(MAC, 'a', { onChange: 'prefix' });
    expect(await failureOf(asking)).toMatchObject({ code: 'dataset_changed' });
    expect(asked).toEqual([undefined, '"prefix-3-x"']);
    expect(JSON.parse(relay.seen[0]?.body ?? '')).toEqual({ mac: MAC, dataset: 'a', on_change: 'prefix' });
  });

  test('says so where the router does not know of datasets that grow', async () => {
    await using relay = await withClient(({ method }, response) => {
      if (method === 'POST') sendJson(response, 202, statusOf('waiting'));
      else sendJson(response, 200, done('http://store.example'));
    });
    const asking = relay.client.requestOffload(MAC, 'a', { onChange: 'prefix' });
    expect(await failureOf(asking)).toMatchObject({ code: 'not_supported' });
  });
});

describe('request-digest', () => {
  test('gives size, ETag and digest', async () => {
    await using relay = await withClient(({ method }, response) => {
      if (method === 'POST') sendJson(response, 202, statusOf('waiting'));
      else sendJson(response, 200, done('http://x.example'));
    });
    expect(await relay.client.requestDigest(MAC, 'a')).toEqual({ size: 3, etag: '"v"', digest: digestOf('abc') });
  });

  test('says so where the node gave none', async () => {
    await using relay = await withClient((_, response) => sendJson(response, 202, statusOf('done', { total_size: 3 })));
    expect(await failureOf(relay.client.requestDigest(MAC, 'a'))).toMatchObject({ code: 'not_supported' });
  });
});

describe('requests by their id', () => {
  test('are asked about and cancelled', async () => {
    await using relay = await withClient(({ method }, response) => {
      if (method === 'GET') sendJson(response, 200, statusOf('running', { bytes_done: 5 }));
      else response.writeHead(204).end();
    });
    expect(await relay.client.requestStatus(REQUEST_ID)).toMatchObject({ state: 'running', bytes_done: 5 });
    await relay.client.cancelRequest(REQUEST_ID);
    expect(relay.seen.map(({ method, url }: Seen) => `${method} ${url}`)).toEqual([
      `GET /requests/${REQUEST_ID}`,
      `DELETE /requests/${REQUEST_ID}`,
    ]);
  });
});

test('a pause ends when the signal fires', async () => {
  const { pause } = await import('../../../src/client/pause.ts');
  const stop = new AbortController();
  const fired = once(stop.signal, 'abort');
  const failure = failureOf(pause(60_000, stop.signal));
  stop.abort(new Error('enough'));
  await fired;
  expect((await failure).message).toBe('enough');
  expect((await failureOf(pause(60_000, stop.signal))).message).toBe('enough');
});
