import { describe, expect, test } from '@jest/globals';
import { RelayClient } from '../../../src/index.ts';
import {
  digestOf,
  failureOf,
  type Handler,
  MAC,
  REQUEST_ID,
  readAll,
  sendJson,
  sendProblem,
  serve,
  statusOf,
} from './stub-server.ts';

async function withClient(handler: Handler, prefix = '') {
  const server = await serve(handler);
  return {
    ...server,
    client: new RelayClient({ baseUrl: server.url + prefix, userAgent: 'test/1' }),
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}

const connector = (mac: string): object => ({
  mac,
  state: 'online',
  last_seen: '2026-01-31T12:00:00Z',
  link: 'websocket',
  version: null,
  name: null,
  labels: {},
});

describe('listings', () => {
  test('narrows and rolls up, also what a router gives that knows nothing of that', async () => {
    const names = ['a/1.csv', 'a/b/1.csv', 'a/b/2.csv', 'a/c.txt', 'b'];
    await using relay = await withClient((_, response) =>
      sendJson(response, 200, { datasets: names.map((name) => ({ name, size: 1 })) }),
    );
    const all = await collect(relay.client.datasets(MAC, { prefix: 'a/', glob: '**/*.csv' }));
    expect(all.map(({ name }) => name)).toEqual(['a/1.csv', 'a/b/1.csv', 'a/b/2.csv']);
    const directory = await collect(relay.client.datasets(MAC, { prefix: 'a/', delimiter: '/' }));
    expect(directory).toEqual([{ name: 'a/1.csv', size: 1 }, { prefix: 'a/b/' }, { name: 'a/c.txt', size: 1 }]);
    const queries = relay.seen.map(({ url }) => Object.fromEntries(new URL(url, relay.url).searchParams));
    expect(queries).toEqual([
      { limit: '1000', prefix: 'a/', glob: '**/*.csv' },
      { limit: '1000', prefix: 'a/', delimiter: '/' },
    ]);
    await expect(collect(relay.client.datasets(MAC, { glob: '' }))).rejects.toMatchObject({ code: 'invalid_request' });
  });

  test('has a URL signed for as long as is wanted', async () => {
    const answer = { url: 'http://router/x?signature=y', expires_at: '2026-01-31T12:00:00Z' };
    await using relay = await withClient((_, response) => sendJson(response, 200, answer));
    expect(await relay.client.signedUrl('CC28AA010203', 'a.csv', { expiresIn: 60 })).toEqual(answer);
    const [seen] = relay.seen;
    expect([seen?.method, seen?.url]).toEqual(['POST', '/datasets/sign']);
    await expect(relay.client.signedUrl(MAC, '../a')).rejects.toMatchObject({ code: 'invalid_request' });
  });

  test('reads connectors page by page', async () => {
    await using relay = await withClient(({ url }, response) =>
      url.includes('cursor=b')
        ? sendJson(response, 200, { connectors: [connector('cc-28-aa-01-02-05')] })
        : sendJson(response, 200, { connectors: [connector('cc-28-aa-01-02-03')], next: 'b' }),
    );
    expect((await collect(relay.client.connectors())).map(({ mac }) => mac)).toEqual([
      'cc-28-aa-01-02-03',
      'cc-28-aa-01-02-05',
    ]);
    expect(relay.seen.map(({ url }) => url)).toEqual(['/connectors?limit=1000', '/connectors?limit=1000&cursor=b']);
  });

  test('asks for connectors by label and state, and looks itself where the router lists all', async () => {
    await using relay = await withClient((_, response) =>
      sendJson(response, 200, {
        connectors: [
          { ...connector('cc-28-aa-01-02-03'), labels: { site: 'oslo', line: '3' } },
          { ...connector('cc-28-aa-01-02-04'), labels: { site: 'oslo' } },
          { ...connector('cc-28-aa-01-02-05'), labels: { site: 'oslo', line: '3' }, state: 'offline' },
        ],
      }),
    );
    const wanted = relay.client.connectors({ labels: { site: 'oslo', line: '3' }, state: 'online' });
    expect((await collect(wanted)).map(({ mac }) => mac)).toEqual(['cc-28-aa-01-02-03']);
    expect(relay.seen.map(({ url }) => url)).toEqual([
      '/connectors?limit=1000&label=site%3Doslo&label=line%3D3&state=online',
    ]);
  });

  test('asks for a page of datasets only when it is read, under the base URL with its prefix', async () => {
    await using relay = await withClient(
      (_, response) => sendJson(response, 200, { datasets: [{ name: 'a/ü.csv', size: 1 }], next: 'more' }),
      '/some/prefix',
    );
    for await (const { name } of relay.client.datasets('CC28AA010203')) {
      expect(name).toBe('a/ü.csv');
      break;
    }
    expect(relay.seen.map(({ url }) => url)).toEqual([`/some/prefix/connectors/${MAC}/datasets?limit=1000`]);
  });

  test('ends where a router gives the same cursor for ever', async () => {
    await using relay = await withClient((_, response) => sendJson(response, 200, { datasets: [], next: 'same' }));
    expect(await collect(relay.client.datasets(MAC))).toEqual([]);
    expect(relay.seen).toHaveLength(2);
  });

  test('tells one connector, and one that was never seen', async () => {
    await using relay = await withClient(({ url }, response) =>
      url.endsWith(MAC) ? sendJson(response, 200, connector(MAC)) : sendProblem(response, 404, 'connector_not_found'),
    );
    expect(await relay.client.connector(MAC)).toMatchObject({ mac: MAC, state: 'online' });
    expect(await failureOf(relay.client.connector('cc-28-aa-01-02-04'))).toMatchObject({ code: 'connector_not_found' });
  });
});

describe('stat', () => {
  test('reads the headers of HEAD, the name encoded part by part', async () => {
    await using relay = await withClient((_, response) => {
      response.writeHead(200, {
        'Content-Length': 12_345,
        'Content-Type': 'text/csv',
        ETag: '"v1"',
        'Last-Modified': 'Sat, 31 Jan 2026 12:00:00 GMT',
        'Accept-Ranges': 'bytes',
      });
      response.end();
    });
    expect(await relay.client.stat(MAC, 'a b/100%#é.csv')).toEqual({
      size: 12_345,
      contentType: 'text/csv',
      etag: '"v1"',
      lastModified: new Date('2026-01-31T12:00:00Z'),
      acceptsRanges: true,
    });
    expect(relay.seen[0]).toMatchObject({
      method: 'HEAD',
      url: `/connectors/${MAC}/datasets/a%20b/100%25%23%C3%A9.csv`,
    });
  });

  test('says why it failed, which HEAD alone cannot', async () => {
    const problem = { code: 'connector_offline', last_seen: '2026-01-31T12:00:00Z', retryable: true };
    await using relay = await withClient((_, response) => {
      response.writeHead(503, { 'Relay-Problem': JSON.stringify(problem) }).end();
    });
    const error = await failureOf(relay.client.stat(MAC, 'a'));
    expect(error).toMatchObject({ code: 'connector_offline', details: { last_seen: '2026-01-31T12:00:00Z' } });
  });

  test('takes a failure without that header for one of somebody in between', async () => {
    await using relay = await withClient((_, response) => {
      response.writeHead(502).end();
    });
    expect(await failureOf(relay.client.stat(MAC, 'a'))).toMatchObject({ code: 'router_unreachable' });
  });
});

describe('pattern A', () => {
  test('gives the JSON answer, with fields of a later router', async () => {
    const answer = { status: 'success', data: 'x', encoding: 'utf8', size: 1, etag: '"v"', later: true };
    await using relay = await withClient((_, response) => sendJson(response, 200, answer));
    expect(await relay.client.requestSync('CC:28:AA:01:02:03', 'a')).toEqual(answer);
    expect(JSON.parse(relay.seen[0]?.body ?? '')).toEqual({ mac: MAC, dataset: 'a' });
    expect(relay.seen[0]?.headers).toMatchObject({ 'user-agent': 'test/1', 'want-repr-digest': 'sha-256=1' });
  });

  test('gives the bytes where they are asked for', async () => {
    await using relay = await withClient(({ headers }, response) => {
      expect(headers.accept).toBe('application/octet-stream');
      response.writeHead(200, { 'Repr-Digest': digestOf('abc') }).end('abc');
    });
    const received = await relay.client.requestSyncBytes(MAC, 'a');
    expect(String(await readAll(received.body))).toBe('abc');
    expect(await received.digest()).toBe(digestOf('abc'));
  });

  test('throws what the router answers', async () => {
    await using relay = await withClient((_, response) =>
      sendProblem(response, 413, 'dataset_too_large', { limit: 64, size: 65 }),
    );
    expect(await failureOf(relay.client.requestSync(MAC, 'a'))).toMatchObject({
      code: 'dataset_too_large',
      details: { limit: 64, size: 65, request_id: REQUEST_ID },
    });
  });
});

describe('pattern B', () => {
  test('tells what is known of a stream before its bytes', async () => {
    await using relay = await withClient((_, response) => {
      response.writeHead(200, {
        'Relay-Total-Size': 3,
        'Content-Type': 'text/csv',
        ETag: '"v1"',
        'Last-Modified': 'Sat, 31 Jan 2026 12:00:00 GMT',
      });
      response.end('abc');
    });
    const stream = await relay.client.requestStream(MAC, 'a');
    expect(stream).toMatchObject({
      requestId: REQUEST_ID,
      size: 3,
      etag: '"v1"',
      contentType: 'text/csv',
      lastModified: new Date('2026-01-31T12:00:00Z'),
    });
    expect(String(await readAll(stream.body))).toBe('abc');
    expect(relay.seen[0]?.headers['accept-encoding']).toBe('gzip');
  });

  test('asks for the digest where no header tells it, until the request has settled', async () => {
    const states = [statusOf('running'), statusOf('done', { digest: digestOf('abc') })];
    await using relay = await withClient(({ method }, response) => {
      if (method === 'POST') response.end('abc');
      else sendJson(response, 200, states.shift() ?? {});
    });
    const stream = await relay.client.requestStream(MAC, 'a');
    await readAll(stream.body);
    expect(await stream.digest()).toBe(digestOf('abc'));
    expect(relay.seen.slice(1).map(({ url }) => url)).toEqual(Array(2).fill(`/requests/${REQUEST_ID}?wait=20`));
  });

  test('has no digest where the router keeps none, and fails where the request did', async () => {
    let gone = true;
    await using relay = await withClient(({ method }, response) => {
      if (method === 'POST') response.end('abc');
      else if (gone) sendProblem(response, 410, 'request_gone');
      else sendJson(response, 200, statusOf('failed', { error: { code: 'dataset_changed', retryable: true } }));
    });
    const stream = await relay.client.requestStream(MAC, 'a');
    await readAll(stream.body);
    expect(await stream.digest()).toBeUndefined();
    gone = false;
    expect(await failureOf(stream.digest())).toMatchObject({ code: 'dataset_changed' });
  });

  test('asks again for the digest when a connection breaks, since the bytes are here', async () => {
    let asked = 0;
    await using relay = await withClient(({ method }, response) => {
      asked += method === 'GET' ? 1 : 0;
      if (method === 'POST') response.end('abc');
      else if (asked === 1) response.destroy();
      else sendJson(response, 200, statusOf('done', { digest: digestOf('abc') }));
    });
    const stream = await relay.client.requestStream(MAC, 'a');
    await readAll(stream.body);
    expect(await stream.digest()).toBe(digestOf('abc'));
  });

  test.each([
    ['is reset', { 'Content-Length': 10 }, 'destroy'],
    ['is reset in the middle of chunks', {}, 'destroy'],
    ['ends in good order but short', { 'Relay-Total-Size': 10 }, 'end'],
  ] as const)('errors when the body %s', async (_, headers, way) => {
    await using relay = await withClient((_request, response) => {
      response.writeHead(200, headers);
      response.write('abc', () => (way === 'end' ? response.end() : response.socket?.resetAndDestroy()));
    });
    const stream = await relay.client.requestStream(MAC, 'a');
    expect(await failureOf(readAll(stream.body))).toMatchObject({ code: 'transfer_interrupted', retryable: true });
  });

  test('lets go of the request when the body is cancelled', async () => {
    const closed = Promise.withResolvers<void>();
    await using relay = await withClient((_, response) => {
      response.on('close', closed.resolve);
      response.write(Buffer.alloc(1000));
    });
    const stream = await relay.client.requestStream(MAC, 'a');
    await stream.body.cancel();
    await expect(closed.promise).resolves.toBeUndefined();
  });

  test("throws the signal's reason, before and after the response has begun", async () => {
    await using relay = await withClient(({ body }, response) => {
      if (body.includes('begins')) response.write('abc');
    });
    const reason = new Error('enough');
    const first = new AbortController();
    const waiting = failureOf(relay.client.requestStream(MAC, 'silent', { signal: first.signal }));
    first.abort(reason);
    expect(await waiting).toBe(reason);
    const second = new AbortController();
    const stream = await relay.client.requestStream(MAC, 'begins', { signal: second.signal });
    const reading = failureOf(readAll(stream.body));
    second.abort(reason);
    expect(await reading).toBe(reason);
  });
});

describe('what is no answer of a router', () => {
  test.each([
    [502, true],
    [404, false],
    [200, false],
  ])('shows status and text of a page with status %d', async (status, retryable) => {
    await using relay = await withClient((_, response) => {
      response.removeHeader('Relay-Request-Id');
      response.writeHead(status, { 'Content-Type': 'text/html' });
      response.end('<html><style>p { color: red }</style><h1>Bad  Gateway</h1></html>');
    });
    for (const work of [relay.client.requestStream(MAC, 'a'), relay.client.requestSync(MAC, 'a')]) {
      const error = await failureOf(work);
      expect(error).toMatchObject({ code: 'router_unreachable', retryable });
      expect(error.message).toContain(`answered ${status}`);
      expect(error.message).toContain('"Bad Gateway"');
    }
  });

  test.each([504, 524])('tells a gateway that gave up waiting from a router that is away: %d', async (status) => {
    await using relay = await withClient((_, response) => {
      response.removeHeader('Relay-Request-Id');
      response.writeHead(status, { 'Retry-After': '9' }).end('<h1>Time-out</h1><hr>nginx');
    });
    const words = `a gateway in between gave up waiting for the router (HTTP ${status}), "Time-out nginx"`;
    const stream = await failureOf(relay.client.requestStream(MAC, 'a'));
    expect(stream).toMatchObject({ code: 'router_unreachable', retryable: true });
    expect(stream.details).toEqual({ gateway_status: status, retry_after: 9 });
    expect(stream.message).toContain(words);
    // The same request would be as silent for as long again.
    for (const work of [relay.client.requestSync(MAC, 'a'), relay.client.requestSyncBytes(MAC, 'a')]) {
      const error = await failureOf(work);
      expect(error).toMatchObject({ code: 'request_timeout', exitCode: 5, retryable: false });
      expect(error.details).toEqual({ gateway_status: status, retryable: false });
      expect(error.message).toContain(words);
    }
  });

  test('takes a 504 of the router itself for what it says', async () => {
    await using relay = await withClient((_, response) =>
      sendProblem(response, 504, 'request_timeout', { retryable: true }),
    );
    const error = await failureOf(relay.client.requestSync(MAC, 'a'));
    expect(error).toMatchObject({ code: 'request_timeout', retryable: true });
    expect(error.details).not.toHaveProperty('gateway_status');
  });

  test.each([
    ['120', 120],
    [new Date(Date.now() + 3_600_000).toUTCString(), expect.closeTo(3600, -2)],
    [new Date(Date.now() - 3_600_000).toUTCString(), 0],
    ['soon', undefined],
  ])('tells when to ask again: Retry-After: %s', async (field, expected) => {
    await using relay = await withClient((_, response) => {
      response.writeHead(503, { 'Retry-After': field }).end('busy');
    });
    const error = await failureOf(relay.client.requestStream(MAC, 'a'));
    expect(error).toMatchObject({ details: expected === undefined ? { retryable: true } : { retry_after: expected } });
  });

  test('follows no redirect, and says where it leads', async () => {
    await using relay = await withClient((_, response) => {
      response.writeHead(301, { Location: 'https://elsewhere.example/x' }).end();
    });
    const error = await failureOf(relay.client.requestStream(MAC, 'a'));
    expect(error).toMatchObject({ code: 'router_unreachable', retryable: false });
    expect(error.message).toContain('https://elsewhere.example/x');
    expect(relay.seen).toHaveLength(1);
  });

  test('tells a refused connection from an answer', async () => {
    let url: string;
    {
      await using server = await serve(() => undefined);
      ({ url } = server);
    }
    const error = await failureOf(new RelayClient({ baseUrl: url }).requestStream(MAC, 'a'));
    expect(error).toMatchObject({ code: 'router_unreachable', retryable: true });
    expect(error.message).toContain('ECONNREFUSED');
  });

  test('is not worth asking again where a certificate is refused', async () => {
    const cause = Object.assign(new Error('self-signed certificate'), { code: 'DEPTH_ZERO_SELF_SIGNED_CERT' });
    const fetch = (): Promise<Response> => Promise.reject(new TypeError('fetch failed', { cause }));
    const error = await failureOf(new RelayClient({ baseUrl: 'https://relay.example', fetch }).stat(MAC, 'a'));
    expect(error).toMatchObject({ code: 'router_unreachable', retryable: false });
  });
});

describe('what is refused before anything is sent', () => {
  test.each([
    ['a MAC that is none', 'x', 'a'],
    ['a name that climbs', MAC, '../a'],
  ])('%s', async (_, mac, dataset) => {
    const client = new RelayClient({ baseUrl: 'http://127.0.0.1:1' });
    expect(await failureOf(client.requestStream(mac, dataset))).toMatchObject({ code: 'invalid_request' });
  });

  test('a base URL that is none', () => {
    expect(() => new RelayClient({ baseUrl: 'ftp://x' })).toThrow(/not the http\(s\) URL of a router/);
  });

  test('a token over plain HTTP to another machine', async () => {
    expect(() => new RelayClient({ baseUrl: 'http://10.0.0.1', token: 't' })).toThrow(/unencrypted/);
    expect(() => new RelayClient({ baseUrl: 'http://127.0.0.1.evil.example', token: 't' })).toThrow(/unencrypted/);
    const proxy = new URL('http://192.0.2.2:3999');
    expect(() => new RelayClient({ baseUrl: 'http://127.0.0.1', token: 't', proxy })).toThrow(
      /unencrypted to the proxy/,
    );
    expect(new RelayClient({ baseUrl: 'https://127.0.0.1', token: 't', proxy }).baseUrl).toBe('https://127.0.0.1/');
    expect(new RelayClient({ baseUrl: 'http://10.0.0.1', token: 't', allowHttp: true }).baseUrl).toBe(
      'http://10.0.0.1/',
    );
    await using server = await serve((_, response) => sendJson(response, 200, { connectors: [] }));
    await collect(new RelayClient({ baseUrl: server.url, token: 'secret' }).connectors());
    expect(server.seen[0]?.headers.authorization).toBe('Bearer secret');
    expect(() => new RelayClient({ baseUrl: 'http://10.0.0.1', token: () => 't' })).toThrow(/unencrypted/);
    let count = 0;
    const client = new RelayClient({ baseUrl: server.url, token: () => `secret${++count}` });
    await collect(client.connectors());
    await collect(client.connectors());
    expect(server.seen.slice(1).map(({ headers }) => headers.authorization)).toEqual([
      'Bearer secret1',
      'Bearer secret2',
    ]);
  });
});
