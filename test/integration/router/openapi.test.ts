import http from 'node:http';
import type { Socket } from 'node:net';
import { once } from 'node:events';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { isErrorCode } from '../../../src/protocol/errors.ts';
import type { Mac } from '../../../src/protocol/mac.ts';
import { signToken } from '../../../src/router/access/token.ts';
import { answerOperations } from '../../../src/router/openapi/answers.ts';
import { connectorOperations } from '../../../src/router/openapi/connectors.ts';
import { datasetOperations } from '../../../src/router/openapi/datasets.ts';
import { linkOperations } from '../../../src/router/openapi/links.ts';
import { operationOperations } from '../../../src/router/openapi/operations.ts';
import { requestOperations } from '../../../src/router/openapi/requests.ts';
import { ApiDescription } from '../../support/api-description.ts';
import { startOwnConnector } from '../../support/own-connector.ts';
import { type AppAnswer, ask, call } from '../../support/plain-app.ts';
import { MAC, PlainConnector } from '../../support/plain-connector.ts';
import { makeTempDir, startRouter } from '../../support/router.ts';

const BYTES = Buffer.from('time,celsius\n08:00,61.5\n');
const OTHER_MAC = 'cc-28-aa-01-02-04';
const DATASET = 'GET /connectors/{mac}/datasets/{path}';
const HEAD = DATASET.replace('GET', 'HEAD');
const SECRET = 'a secret of more than thirty-two characters';

const resources = new AsyncDisposableStack();
let url: string;
let api: ApiDescription;
/** A connector that does as it is told. */
let node: PlainConnector;

beforeAll(async () => {
  const router = resources.use(await startRouter({ bufferMaxBytes: 1024 * 1024 }));
  url = router.url;
  api = await ApiDescription.of(url);
  const dataDir = resources.use(await makeTempDir()).path;
  await mkdir(join(dataDir, 'sub'));
  for (const name of ['a.csv', 'sub/b.csv']) await writeFile(join(dataDir, name), BYTES);
  resources.use(await startOwnConnector(url, BYTES, { dataDir }));
  const capabilities = 'binary, offset, multipart, stat, list, progress';
  node = resources.use(await PlainConnector.connect(url, { mac: OTHER_MAC, capabilities }));
});
afterAll(() => resources.disposeAsync());

/** The path of an operation with its parts filled in. */
const fill = (name: string, parts: Record<string, string> = {}): string =>
  (name.split(' ')[1] as string).replace(/\{(\w+)\}/g, (_, part: string) => {
    return parts[part] ?? { mac: MAC, path: 'a.csv', id: 'gone' }[part] ?? part;
  });

/** Sends a request of an operation. */
async function send(
  name: string,
  {
    body,
    headers,
    query = '',
    parts,
    base = url,
  }: { body?: unknown; headers?: object; query?: string; parts?: Record<string, string>; base?: string } = {},
): Promise<AppAnswer> {
  const method = name.split(' ')[0] as string;
  const path = fill(name, parts) + query;
  return method === 'POST' && body !== undefined
    ? ask(base, path, body, { ...headers }).answer
    : call(base, method, path, { ...headers });
}

/** Sends it, and expects a status and an answer as it is described. */
async function expectDescribed(name: string, status: number, options?: Parameters<typeof send>[1]): Promise<AppAnswer> {
  const answer = await send(name, options);
  expect({ status: answer.status, faults: api.check(name, answer) }).toEqual({ status, faults: [] });
  return answer;
}

const subject = (dataset = 'a.csv', mac = MAC): object => ({ mac, dataset });
const OCTETS = { Accept: 'application/octet-stream' };
const ASYNC = { Prefer: 'respond-async' };

describe('what an app gets is what the description says', () => {
  test.each<[string, number, Parameters<typeof send>[1]]>([
    ['POST /datasets/request-sync', 200, { body: subject() }],
    ['POST /datasets/request-sync', 200, { body: subject(), headers: OCTETS }],
    ['POST /datasets/request-sync', 404, { body: subject('none.csv') }],
    ['POST /datasets/request-sync', 200, { body: { ...subject(), on_change: 'prefix' } }],
    ['POST /datasets/request-sync', 200, { body: { ...subject(), min_age: 0.001 } }],
    ['POST /datasets/request-sync', 503, { body: { ...subject(), min_age: 3_000_000_000 } }],
    ['POST /datasets/request-sync', 400, { body: '{' }],
    ['POST /datasets/request-sync', 400, { body: { mac: 'x', dataset: 'a' }, headers: { Accept: 'text/html' } }],
    ['POST /datasets/request-sync', 503, { body: subject('a.csv', 'cc-28-aa-01-02-09') }],
    ['POST /datasets/request-sync', 412, { body: subject(), headers: { 'If-Match': '"x"' } }],
    ['POST /datasets/request-stream', 200, { body: subject() }],
    ['POST /datasets/request-stream', 200, { body: subject(), headers: { 'Want-Repr-Digest': 'sha-256=1' } }],
    ['POST /datasets/request-stream', 404, { body: subject('none.csv') }],
    ['POST /datasets/request-offload', 200, { body: subject() }],
    ['POST /datasets/request-offload', 202, { body: subject(), headers: ASYNC }],
    ['POST /datasets/request-offload', 404, { body: subject('none.csv') }],
    ['POST /datasets/request-digest', 200, { body: subject() }],
    ['POST /datasets/request-digest', 202, { body: subject(), headers: ASYNC }],
    ['POST /datasets/request-digest', 404, { body: subject('none.csv') }],
    ['GET /requests/{id}', 410, {}],
    ['DELETE /requests/{id}', 410, {}],
    ['GET /connectors', 200, {}],
    ['GET /connectors', 200, { query: '?limit=1' }],
    ['GET /connectors', 400, { query: '?limit=none' }],
    ['GET /connectors/{mac}', 200, {}],
    ['GET /connectors/{mac}', 404, { parts: { mac: 'cc-28-aa-01-02-09' } }],
    ['GET /connectors/{mac}', 400, { parts: { mac: 'x' } }],
    ['GET /connectors/{mac}/datasets', 200, {}],
    ['GET /connectors/{mac}/datasets', 200, { query: '?prefix=a&glob=*&delimiter=/' }],
    ['GET /connectors/{mac}/datasets', 308, { headers: { Accept: 'text/html' } }],
    ['GET /connectors/{mac}/datasets/', 200, {}],
    ['GET /connectors/{mac}/datasets/', 200, { headers: { Accept: 'application/json' } }],
    ['GET /connectors/{mac}/datasets/{path}/', 404, { parts: { path: 'nothing' } }],
    ['GET /connectors/{mac}/datasets/{path}/', 200, { parts: { path: 'sub' } }],
    ['POST /datasets/sign', 200, { body: subject() }],
    ['GET /connectors/{mac}/datasets', 404, { parts: { mac: 'cc-28-aa-01-02-09' } }],
    [DATASET, 200, {}],
    [DATASET, 200, { query: '?via=sync' }],
    [DATASET, 202, { query: '?via=offload', headers: ASYNC }],
    [DATASET, 200, { query: '?on_change=prefix' }],
    [DATASET, 200, { query: '?min_age=0.001' }],
    [DATASET, 503, { query: '?min_age=3000000000' }],
    [DATASET, 206, { headers: { Range: 'bytes=1-3' } }],
    [DATASET, 304, { headers: { 'If-None-Match': '*' } }],
    [DATASET, 307, { query: '?via=offload' }],
    [DATASET, 400, { query: '?via=pigeon' }],
    [DATASET, 404, { parts: { path: 'none.csv' } }],
    [DATASET, 412, { headers: { 'If-Match': '"x"' } }],
    [DATASET, 416, { headers: { Range: 'bytes=999-' } }],
    [HEAD, 200, {}],
    [HEAD, 304, { headers: { 'If-None-Match': '*' } }],
    [HEAD, 404, { parts: { path: 'none.csv' } }],
    [HEAD, 412, { headers: { 'If-Match': '"x"' } }],
    ['GET /healthz', 200, {}],
    ['GET /readyz', 200, {}],
    ['GET /metrics', 200, {}],
    ['GET /openapi.json', 200, {}],
  ])('%s: %i to %j', async (name, status, options) => {
    await expectDescribed(name, status, options);
  });

  test('a request that is followed, and cancelled once it has ended', async () => {
    const asked = await send('POST /datasets/request-digest', { body: subject('a.csv', OTHER_MAC), headers: ASYNC });
    const id = asked.headers['relay-request-id'] as string;
    await expectDescribed('GET /requests/{id}', 200, { parts: { id } });
    await expectDescribed('DELETE /requests/{id}', 204, { parts: { id } });
    const ended = await expectDescribed('GET /requests/{id}', 200, { parts: { id }, query: '?wait=1' });
    expect(ended.json()).toMatchObject({ state: 'failed', error: { code: 'not_supported' } });
  });
});

describe('what a connector gets is what the description says', () => {
  test('for a stream in chunks', async () => {
    const app = ask(url, '/datasets/request-stream', subject('a.csv', OTHER_MAC)).answer;
    const { request_id } = await node.next();
    await expectDescribed('POST /datasets/stream/init', 400, { body: { request_id, total_size: -1 } });
    await expectDescribed('POST /datasets/stream/init', 200, { body: { request_id, total_size: 3 } });
    await expectDescribed('POST /datasets/stream/chunk', 409, { body: { request_id, offset: 2, data: 'c' } });
    await expectDescribed('POST /datasets/stream/chunk', 200, { body: { request_id, offset: 0, data: 'abc' } });
    await expectDescribed('POST /datasets/stream/complete', 200, { body: { request_id } });
    expect((await app).bytes.toString()).toBe('abc');
  });

  test('for an upload in parts', async () => {
    const app = ask(url, '/datasets/request-offload', subject('a.csv', OTHER_MAC)).answer;
    const look = await node.next();
    await node.post('/datasets/result', {
      request_id: look.request_id,
      dataset: { name: 'a.csv', size: 3, etag: '"1"' },
    });
    const { request_id } = await node.next();
    await expectDescribed('POST /datasets/offload/progress', 200, { body: { request_id, bytes_done: 0 } });
    await expectDescribed('POST /datasets/offload/parts', 400, { body: { request_id, part_numbers: [] } });
    const body = { request_id, part_numbers: [1], total_size: 3, want_done: true };
    await expectDescribed('POST /datasets/offload/parts', 200, { body });
    const error = { code: 'dataset_unreadable', message: 'a lock' };
    await expectDescribed('POST /datasets/result', 200, { body: { request_id, error } });
    expect(api.check('POST /datasets/request-offload', await app)).toEqual([]);
    expect((await app).status).toBe(502);
  });

  test.each(Object.keys(answerOperations))('%s for a request that nobody waits for', async (name) => {
    const body = { request_id: 'gone', data: '', bytes_done: 0, part_numbers: [1] };
    await expectDescribed(name, 410, { body });
  });

  test('for its links', async () => {
    const name = 'GET /connectors/{mac}/events';
    const parts = { mac: 'cc-28-aa-01-02-05' };
    const request = http.get(url + fill(name, parts), { agent: false });
    const [{ statusCode = 0, headers }] = (await once(request, 'response')) as [http.IncomingMessage];
    expect([statusCode, api.check(name, { status: statusCode, headers, bytes: Buffer.alloc(0) })]).toEqual([200, []]);
    const beat = { body: { event: 'alive' }, parts };
    await expectDescribed('POST /connectors/{mac}/heartbeat', 204, beat);
    await expectDescribed('POST /connectors/{mac}/heartbeat', 410, { ...beat, headers: { 'Relay-Link-Id': 'other' } });
    request.destroy();
    await expectDescribed(name, 426, { headers: { 'Relay-Protocol': 'relay.v9' } });
    const socket = 'GET /connectors/{mac}/socket';
    await expectDescribed(socket, 400);
    const upgrade = http.get(url + fill(socket, parts), {
      agent: false,
      headers: {
        Connection: 'Upgrade',
        Upgrade: 'websocket',
        'Sec-WebSocket-Version': '13',
        'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==',
      },
    });
    const [opened, raw] = (await once(upgrade, 'upgrade')) as [http.IncomingMessage, Socket];
    const answer = { status: opened.statusCode ?? 0, headers: opened.headers, bytes: Buffer.alloc(0) };
    expect([answer.status, api.check(socket, answer)]).toEqual([101, []]);
    raw.destroy();
  });

  test('and all that it says is so was seen, of every endpoint', () => {
    const unseen = api.operations.flatMap((name) =>
      Object.keys(api.operation(name).responses)
        .filter((status) => Number(status) < 400 && api.seen.get(name)?.has(Number(status)) !== true)
        .map((status) => `${name}: ${status}`),
    );
    expect(unseen).toEqual([]);
  });
});

describe('the description', () => {
  test('has every endpoint that the router has, and no other', () => {
    const described = [
      requestOperations,
      answerOperations,
      linkOperations,
      connectorOperations,
      datasetOperations,
      operationOperations,
    ].flatMap((operations) => Object.keys(operations).map((name) => name.replace('...', '')));
    expect(api.operations.toSorted()).toEqual(described.toSorted());
  });

  test('names every operation once', () => {
    const ids = api.operations.map((name) => api.operation(name).operationId);
    expect(new Set(ids).size).toBe(ids.length);
  });

  test('has a closed set of codes', () => {
    const { Problem } = api.document.components.schemas as { Problem?: { properties: { code: { enum: string[] } } } };
    expect(Problem?.properties.code.enum.every(isErrorCode)).toBe(true);
    expect(Problem?.properties.code.enum).not.toContain('interrupted');
  });

  test('says of each endpoint only the errors that make sense there', () => {
    const always = [400, 403, 429, 500, 503];
    const told = api.operations.map((name) => [
      name,
      Object.keys(api.operation(name).responses)
        .map(Number)
        .filter((status) => status >= 400 && !always.includes(status)),
    ]);
    for (const name of api.operations)
      expect([name, Object.keys(api.operation(name).responses)]).toEqual([
        name,
        expect.arrayContaining(always.map(String)),
      ]);
    const bytes = [401, 404, 409, 410, 412, 413, 416, 501, 502, 504, 505];
    const listing = [401, 404, 501, 502, 504];
    expect(Object.fromEntries(told)).toEqual({
      'POST /datasets/request-sync': [401, 404, 409, 410, 412, 413, 501, 502, 504],
      'POST /datasets/request-stream': [401, 404, 409, 410, 412, 413, 501, 502, 504, 505],
      'POST /datasets/request-offload': [401, 404, 409, 410, 412, 413, 501, 502, 504, 507],
      'POST /datasets/request-digest': [401, 404, 409, 410, 412, 501, 502, 504],
      'GET /requests/{id}': [401, 410],
      'DELETE /requests/{id}': [401, 410],
      'POST /datasets/sign': [401, 504],
      'POST /datasets/result': [...bytes, 507],
      'POST /datasets/stream/init': [401, 409, 410, 412, 413, 416, 502, 504, 505],
      'POST /datasets/stream/chunk': bytes,
      'POST /datasets/stream/complete': [401, 409, 410, 412, 413, 416, 502, 504, 505],
      'POST /datasets/offload/parts': [401, 410, 504, 507],
      'POST /datasets/offload/progress': [401, 410, 504],
      'GET /connectors/{mac}/socket': [401, 426],
      'GET /connectors/{mac}/events': [401, 426],
      'POST /connectors/{mac}/heartbeat': [401, 410, 504],
      'GET /connectors': [401],
      'GET /connectors/{mac}': [401, 404],
      'GET /connectors/{mac}/datasets': listing,
      'GET /connectors/{mac}/datasets/': listing,
      'GET /connectors/{mac}/datasets/{path}/': listing,
      [DATASET]: [401, 404, 409, 410, 412, 413, 416, 501, 502, 504, 505, 507],
      [HEAD]: [401, 404, 409, 412, 501, 502, 504],
      'GET /healthz': [],
      'GET /readyz': [],
      'GET /metrics': [401],
      'GET /openapi.json': [401],
    });
  });

  test('says where the router is', async () => {
    expect((await send('GET /openapi.json')).json()).toMatchObject({ openapi: '3.1.1', servers: [{ url }] });
  });

  test('says which endpoints ask for a token, and what else is said then', async () => {
    await using router = await startRouter({ secrets: () => [SECRET] });
    const token = (role: 'app' | 'monitor' | 'connector'): Promise<string> =>
      signToken({ role, macs: [MAC as Mac], ...(role === 'app' && { datasets: ['**'] }) }, SECRET);
    const bearers = await Promise.all(
      (['app', 'monitor', 'connector'] as const).map(async (role) => ({
        Authorization: `Bearer ${await token(role)}`,
      })),
    );
    const secured = await ApiDescription.of(router.url, bearers[2]);
    for (const name of secured.operations) {
      const isPublic = secured.operation(name).security.length === 0;
      const refused = await send(name, { base: router.url, body: {} });
      expect([name, refused.status === 401]).toEqual([name, !isPublic]);
      expect(secured.check(name, refused)).toEqual([]);
      for (const headers of bearers) {
        const answer = await send(name, { base: router.url, body: {}, headers, parts: { mac: 'x' } });
        expect(secured.check(name, answer)).toEqual([]);
        expect([name, answer.status]).not.toEqual([name, 401]);
      }
    }
  });
});
