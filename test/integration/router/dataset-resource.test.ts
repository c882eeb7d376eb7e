import { describe, expect, test } from '@jest/globals';
import { signToken } from '../../../src/router/access/token.ts';
import { type AppAnswer, ask, call } from '../../support/plain-app.ts';
import { MAC, PlainConnector, type RawCommand } from '../../support/plain-connector.ts';
import { startRouter } from '../../support/router.ts';

const DATASET = `/connectors/${MAC}/datasets/a.csv`;
const TEXT = 'abcdef';
const SECRET = 'a secret of thirty-two characters';
const LONG_AGO = '2020-01-01T00:00:00Z';
const LONG_AGO_HTTP = 'Wed, 01 Jan 2020 00:00:00 GMT';
const INFO = { name: 'a.csv', size: TEXT.length, etag: '"v1"', content_type: 'text/csv', mtime: LONG_AGO };

/** Answers what a node is asked, and tells what that was, until the answer to the app is there. */
async function serve(
  node: PlainConnector,
  answer: Promise<AppAnswer>,
  reply: (command: RawCommand) => Promise<unknown>,
): Promise<{ answer: AppAnswer; asked: string[] }> {
  const asked: string[] = [];
  let isDone = false;
  const done = answer.then(() => {
    isDone = true;
    return undefined;
  });
  for (;;) {
    const command = await Promise.race([node.next(), done]);
    if (command === undefined || isDone) return { answer: await answer, asked };
    if (command.command === 'cancel') continue;
    asked.push(command.command);
    await reply(command);
  }
}

/** Knows what `stat` asks, and sends the whole otherwise. */
const knowing =
  (node: PlainConnector, info: object = INFO) =>
  ({ command, request_id }: RawCommand): Promise<unknown> =>
    command === 'stat'
      ? node.post('/datasets/result', { request_id, dataset: info })
      : node.post('/datasets/result', { request_id, data: TEXT, etag: '"v1"', last_modified: LONG_AGO });

describe('HEAD and what a condition decides', () => {
  test.each<[string, string, Record<string, string>, number]>([
    ['HEAD', '', {}, 200],
    ['HEAD', '', { Range: 'bytes=0-0' }, 200],
    ['HEAD', '', { 'If-None-Match': '"v1"' }, 304],
    ['HEAD', '', { 'If-Match': '"v2"' }, 412],
    ['HEAD', '?via=sync', {}, 200],
    ['HEAD', '?via=offload', {}, 200],
    ['HEAD', '', { 'Want-Repr-Digest': 'sha-256=1' }, 200],
    ['GET', '', { 'If-None-Match': '"v1"' }, 304],
    ['GET', '', { 'If-None-Match': '"x", W/"v1"', Range: 'bytes=0-0' }, 304],
    ['GET', '', { 'If-None-Match': '*' }, 304],
    ['GET', '', { 'If-Modified-Since': LONG_AGO_HTTP }, 304],
    ['GET', '', { 'If-Unmodified-Since': 'Sunday, 06-Nov-94 08:49:37 GMT' }, 412],
    ['GET', '', { 'If-Match': '"v2", "v3"' }, 412],
    ['GET', '?via=sync', { 'If-None-Match': '"v1"' }, 304],
    ['GET', '?via=offload', { 'If-None-Match': '"v1"' }, 304],
    ['GET', '', { Range: 'bytes=-0' }, 416],
    ['GET', '', { Range: 'bytes=6-', 'If-Range': '"v1"' }, 416],
  ])('%s %s %j costs the node a look and no reading', async (method, query, headers, status) => {
    await using router = await startRouter();
    const capabilities = 'binary, offset, range, stat, digest';
    await using node = await PlainConnector.connect(router.url, { capabilities });
    const answer = call(router.url, method, DATASET + query, headers);
    const served = await serve(node, answer, knowing(node));
    expect([served.answer.status, served.asked]).toEqual([status, ['stat']]);
    expect(served.answer.bytes).toHaveLength(status === 412 || status === 416 ? served.answer.bytes.length : 0);
  });

  test('of a connector on its way back waits for it', async () => {
    await using router = await startRouter({ reconnectWaitMs: 10_000 });
    const capabilities = 'binary, offset, range, stat';
    const gone = await PlainConnector.connect(router.url, { capabilities });
    await gone[Symbol.asyncDispose]();
    let state: unknown;
    do state = (await call(router.url, 'GET', `/connectors/${MAC}`)).json()['state'];
    while (state !== 'offline');
    const answer = call(router.url, 'GET', DATASET, { 'If-Match': '"v1", "v2"', 'If-None-Match': '"v1"' });
    await using node = await PlainConnector.connect(router.url, { capabilities });
    expect((await serve(node, answer, knowing(node))).answer.status).toBe(304);
  });
});

describe('what was looked at', () => {
  test('and is another one when it is sent may be asked for again', async () => {
    await using router = await startRouter();
    await using node = await PlainConnector.connect(router.url, { capabilities: 'binary, offset, range, stat' });
    const error = { code: 'precondition_failed', message: 'changed' };
    const refuse = (command: RawCommand): Promise<unknown> =>
      command.command === 'stat'
        ? knowing(node)(command)
        : node.post('/datasets/result', { request_id: command.request_id, error });
    const ignore = (command: RawCommand): Promise<unknown> =>
      command.command === 'stat'
        ? knowing(node)(command)
        : node.post('/datasets/stream/init', { request_id: command.request_id, total_size: 6, etag: '"v2"' });
    for (const reply of [refuse, ignore]) {
      for (const query of ['', '?via=sync']) {
        const answer = call(router.url, 'GET', DATASET + query, { Range: 'bytes=-2' });
        const served = await serve(node, answer, reply);
        expect([served.answer.status, served.answer.json()]).toMatchObject([
          409,
          { code: 'dataset_changed', retryable: true },
        ]);
      }
    }
  });
});

describe('through a connector that has neither stat nor range', () => {
  test('HEAD tells nothing that nobody knows', async () => {
    await using router = await startRouter();
    await using _ = await PlainConnector.connect(router.url);
    const { status, headers } = await call(router.url, 'HEAD', DATASET);
    expect([status, headers['accept-ranges'], headers['cache-control']]).toEqual([200, 'none', 'no-store']);
    for (const name of ['content-length', 'etag', 'last-modified', 'content-type'])
      expect(headers).not.toHaveProperty(name);
    expect((await call(router.url, 'HEAD', DATASET, { 'If-Match': '"v1"' })).status).toBe(412);
    expect((await call(router.url, 'HEAD', DATASET, { 'If-None-Match': '"v1"' })).status).toBe(200);
  });

  test.each<[Record<string, string>, number]>([
    [{ 'If-Match': '"v1"' }, 200],
    [{ 'If-Match': '"v2", "v1"' }, 200],
    [{ 'If-Match': '*' }, 200],
    [{ 'If-Match': '"v2"' }, 412],
    [{ 'If-Match': '"v2", W/"v1"' }, 412],
    [{ 'If-None-Match': '"v1"' }, 304],
    [{ 'If-None-Match': '"v2"' }, 200],
    [{ 'If-Modified-Since': LONG_AGO_HTTP }, 304],
    [{ 'If-Unmodified-Since': 'Sun, 06 Nov 1994 08:49:37 GMT' }, 412],
    [{ Range: 'bytes=1-2' }, 200],
    [{ Range: 'bytes=-2', 'If-Range': '"v1"' }, 200],
  ])('%j is decided when it says what it sends', async (headers, status) => {
    await using router = await startRouter();
    await using node = await PlainConnector.connect(router.url, { capabilities: 'cancel' });
    for (const query of ['', '?via=sync']) {
      const { answer } = await serve(node, call(router.url, 'GET', DATASET + query, headers), knowing(node));
      expect([answer.status, answer.error]).toEqual([status, undefined]);
      if (status === 200) {
        expect(answer.bytes.toString()).toBe(TEXT);
        expect(answer.headers).toMatchObject({ 'accept-ranges': 'none', etag: '"v1"' });
      }
      if (status === 304) {
        expect(answer.headers).toMatchObject({ etag: '"v1"', vary: 'Accept-Encoding', 'cache-control': 'no-cache' });
        expect(answer.bytes).toHaveLength(0);
      }
    }
    const metrics = (await call(router.url, 'GET', '/metrics')).bytes.toString();
    if (status === 304) expect(metrics).toContain('relay_requests_total{pattern="stream",code="ok"} 1');
  });

  test('If-Match counts by POST as well', async () => {
    await using router = await startRouter();
    await using node = await PlainConnector.connect(router.url);
    for (const [pattern, etag, status] of [
      ['sync', '"v1"', 200],
      ['sync', '"v2"', 412],
      ['stream', '"v1"', 200],
      ['stream', '"v2", "v3"', 412],
      ['offload', '"v1"', 412],
    ] as const) {
      const { answer } = ask(router.url, `/datasets/request-${pattern}`, undefined, { 'If-Match': etag });
      const served = await serve(node, answer, knowing(node));
      expect([pattern, etag, served.answer.status]).toEqual([pattern, etag, status]);
    }
  });

  test('what has no validators is not kept by anybody', async () => {
    await using router = await startRouter();
    await using node = await PlainConnector.connect(router.url);
    const reply = ({ request_id }: RawCommand): Promise<unknown> =>
      node.post('/datasets/result', { request_id, data: TEXT });
    const { answer } = await serve(node, call(router.url, 'GET', DATASET), reply);
    expect([answer.status, answer.headers['cache-control']]).toEqual([200, 'no-store']);
    const matched = await serve(node, call(router.url, 'GET', DATASET, { 'If-Match': '"v1"' }), reply);
    expect(matched.answer.status).toBe(412);
  });
});

describe('where tokens decide who sees it', () => {
  test('no shared cache may keep it', async () => {
    await using router = await startRouter({ secrets: () => [SECRET] });
    const token = await signToken({ role: 'connector', macs: [MAC as never] }, SECRET);
    await using node = await PlainConnector.connect(router.url, { token, capabilities: 'binary, offset, range, stat' });
    const app = await signToken({ role: 'app', macs: ['*'], datasets: ['**'] }, SECRET);
    const headers = { Authorization: `Bearer ${app}` };
    for (const [method, more, status] of [
      ['GET', {}, 200],
      ['HEAD', {}, 200],
      ['GET', { 'If-None-Match': '"v1"' }, 304],
    ] as const) {
      const { answer } = await serve(node, call(router.url, method, DATASET, { ...headers, ...more }), knowing(node));
      expect([answer.status, answer.headers['cache-control']]).toEqual([status, 'private, no-cache']);
    }
    const { answer } = await serve(node, call(router.url, 'GET', '/connectors', headers), knowing(node));
    expect(answer.headers['cache-control']).toBe('no-store');
  });
});

describe('what goes wrong', () => {
  test('is told in JSON to programs, and in a line of text to people', async () => {
    await using router = await startRouter();
    await using node = await PlainConnector.connect(router.url, { capabilities: 'stat' });
    const error = { code: 'dataset_not_found', message: 'no such\ndataset' };
    const fail = ({ request_id }: RawCommand): Promise<unknown> => node.post('/datasets/result', { request_id, error });
    const get = async (accept: string, method = 'GET'): Promise<AppAnswer> =>
      (await serve(node, call(router.url, method, DATASET, { Accept: accept }), fail)).answer;
    for (const accept of ['*/*', 'application/json', 'text/csv', 'application/json, text/plain, */*']) {
      const { status, headers } = await get(accept);
      expect([status, headers['content-type'], headers.vary]).toEqual([404, 'application/problem+json', 'Accept']);
    }
    for (const accept of ['text/html,application/xhtml+xml,*/*;q=0.8', 'text/plain']) {
      const { status, headers, bytes } = await get(accept);
      expect([status, headers['content-type'], headers.vary]).toEqual([404, 'text/plain; charset=utf-8', 'Accept']);
      expect(bytes.toString()).toBe(
        `no such dataset (dataset_not_found, request ${String(headers['relay-request-id'])})\n`,
      );
    }
    const head = await get('text/plain', 'HEAD');
    expect(JSON.parse(String(head.headers['relay-problem']))).toMatchObject({ code: 'dataset_not_found' });
  });
});
