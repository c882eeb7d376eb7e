import { describe, expect, test } from '@jest/globals';
import { type AppCall, ask } from '../../support/plain-app.ts';
import { MAC, PlainConnector } from '../../support/plain-connector.ts';
import { startRouter } from '../../support/router.ts';

const CAPABILITIES = 'binary, offset, range, digest';
const META = { total_size: 6, etag: '"x"' };

/** Begins a stream of six bytes, sends the first three of a chunk, and lets the connector die in the middle of it. */
async function breakOff(
  url: string,
  {
    capabilities = CAPABILITIES,
    meta = META,
    path = '/datasets/request-stream',
    headers = {},
  }: { capabilities?: string; meta?: object; path?: string; headers?: Record<string, string> } = {},
): Promise<{ id: string; app: AppCall }> {
  const node = await PlainConnector.connect(url, { capabilities });
  const app = ask(url, path, undefined, headers);
  const { request_id: id } = await node.next();
  await node.post('/datasets/stream/init', { request_id: id, ...meta });
  const { request, reply } = node.begin('/datasets/stream/chunk', id, { 'Relay-Offset': '0', 'Content-Length': '6' });
  request.write('abc');
  if (path.endsWith('stream')) await app.received(3);
  else while ((await progressOf(url, id)) < 3);
  await node[Symbol.asyncDispose]();
  request.destroy();
  await reply.catch(() => {});
  return { id, app };
}

async function stateOf(url: string): Promise<string> {
  return ((await (await fetch(`${url}/connectors/${MAC}`)).json()) as { state: string }).state;
}

async function progressOf(url: string, id: string): Promise<number> {
  const status = (await (await fetch(`${url}/requests/${id}`)).json()) as { bytes_done: number };
  return status.bytes_done;
}

describe('a transfer whose connector broke off', () => {
  test.each([
    ['/datasets/request-stream', 'get_dataset_stream'],
    ['/datasets/request-sync', 'get_dataset'],
  ])('by %s goes on where it was when the connector is back', async (path, command) => {
    await using router = await startRouter();
    const { id, app } = await breakOff(router.url, { path, headers: { Accept: 'application/octet-stream' } });
    await using node = await PlainConnector.connect(router.url, { capabilities: CAPABILITIES });
    expect(await node.next()).toMatchObject({ command, request_id: id, offset: 3, if_match: '"x"' });
    await node.postBytes('/datasets/stream/chunk', id, 'def', {
      'Relay-Offset': '3',
      'Relay-Total-Size': '6',
      'Relay-Etag': '"x"',
    });
    await node.post('/datasets/stream/complete', { request_id: id, total_size: 6 });
    const { status, bytes, error } = await app.answer;
    expect([status, bytes.toString(), error]).toEqual([200, 'abcdef', undefined]);
  });

  test('goes on as often as it takes', async () => {
    await using router = await startRouter();
    const { id, app } = await breakOff(router.url);
    for (const [offset, byte] of [
      [3, 'd'],
      [4, 'e'],
      [5, 'f'],
    ] as const) {
      await using node = await PlainConnector.connect(router.url, { capabilities: CAPABILITIES });
      expect(await node.next()).toMatchObject({ request_id: id, offset, if_match: '"x"' });
      await node.post('/datasets/stream/chunk', { request_id: id, offset, data: byte });
      if (offset === 5) await node.post('/datasets/stream/complete', { request_id: id, total_size: 6 });
    }
    expect((await app.answer).bytes.toString()).toBe('abcdef');
  });

  test('fails, and never looks whole, when the dataset has changed meanwhile', async () => {
    await using router = await startRouter();
    const { id, app } = await breakOff(router.url);
    await using node = await PlainConnector.connect(router.url, { capabilities: CAPABILITIES });
    await node.next();
    await node.post('/datasets/result', { request_id: id, error: { code: 'precondition_failed', message: 'other' } });
    const { bytes, error } = await app.answer;
    expect([bytes.toString(), error]).toEqual(['abc', expect.objectContaining({ code: 'ECONNRESET' })]);
    const status = (await (await fetch(`${router.url}/requests/${id}`)).json()) as { error: { code: string } };
    expect(status.error.code).toBe('dataset_changed');
  });

  test('fails where the one that comes back claims another dataset', async () => {
    await using router = await startRouter();
    const { id, app } = await breakOff(router.url);
    await using node = await PlainConnector.connect(router.url, { capabilities: CAPABILITIES });
    await node.next();
    const reply = await node.post('/datasets/stream/init', { request_id: id, total_size: 6, etag: '"y"' });
    expect([reply.status, reply.body['code']]).toEqual([409, 'dataset_changed']);
    expect((await app.answer).error).toMatchObject({ code: 'ECONNRESET' });
  });

  test.each([
    ['the dataset had no entity tag', { meta: { total_size: 6 } }],
    ['the connector cannot begin at an offset', { capabilities: 'binary' }],
  ])('fails when %s', async (_, options) => {
    await using router = await startRouter();
    const { app } = await breakOff(router.url, options);
    await using _node = await PlainConnector.connect(router.url, {
      capabilities: 'capabilities' in options ? options.capabilities : CAPABILITIES,
    });
    const { bytes, error } = await app.answer;
    expect([bytes.toString(), error]).toEqual(['abc', expect.objectContaining({ code: 'ECONNRESET' })]);
  });

  test('fails when nobody comes back in time', async () => {
    await using router = await startRouter({ resumeWaitMs: 100 });
    const { app } = await breakOff(router.url);
    expect((await app.answer).error).toMatchObject({ code: 'ECONNRESET' });
  });

  test('asks for no more than the missing rest of a part', async () => {
    await using router = await startRouter();
    const first = await PlainConnector.connect(router.url, { capabilities: CAPABILITIES });
    const asked = fetch(`${router.url}/connectors/cc-28-aa-01-02-03/datasets/a.csv`, {
      headers: { Range: 'bytes=1-4' },
    });
    const { request_id: id } = await first.next();
    await first.post('/datasets/stream/init', { request_id: id, ...META });
    await first.post('/datasets/stream/chunk', { request_id: id, offset: 1, data: 'bc' });
    await first[Symbol.asyncDispose]();
    await using node = await PlainConnector.connect(router.url, { capabilities: CAPABILITIES });
    expect(await node.next()).toMatchObject({ request_id: id, offset: 3, length: 2, if_match: '"x"' });
    await node.post('/datasets/stream/chunk', { request_id: id, offset: 3, data: 'de' });
    await node.post('/datasets/stream/complete', { request_id: id, total_size: 6 });
    const response = await asked;
    expect([response.status, await response.text()]).toEqual([206, 'bcde']);
  });
});

test('a part that is asked for while its connector is away comes as a part when it is back', async () => {
  await using router = await startRouter({ reconnectWaitMs: 60_000 });
  const capabilities = `${CAPABILITIES}, stat`;
  await (await PlainConnector.connect(router.url, { capabilities }))[Symbol.asyncDispose]();
  while ((await stateOf(router.url)) !== 'offline');
  const headers = { Range: 'bytes=3-', 'If-Match': '"x"' };
  const answer = fetch(`${router.url}/connectors/${MAC}/datasets/a.csv`, { headers });
  while (!/^relay_pending_exchanges 1$/m.test(await (await fetch(`${router.url}/metrics`)).text()));
  await using node = await PlainConnector.connect(router.url, { capabilities });
  const { request_id: question } = await node.next();
  await node.post('/datasets/result', { request_id: question, dataset: { name: 'a.csv', size: 6, etag: '"x"' } });
  const { request_id: id, ...command } = await node.next();
  expect(command).toMatchObject({ command: 'get_dataset_stream', offset: 3, if_match: '"x"' });
  await node.post('/datasets/stream/init', { request_id: id, ...META });
  await node.postBytes('/datasets/stream/chunk', id, 'def', { 'Relay-Offset': '3' });
  await node.post('/datasets/stream/complete', { request_id: id, total_size: 6 });
  const response = await answer;
  expect([response.status, await response.text()]).toEqual([206, 'def']);
});

describe('a link that is lost alone', () => {
  test('leaves the body that arrives in peace', async () => {
    await using router = await startRouter();
    const node = await PlainConnector.connect(router.url, { capabilities: CAPABILITIES });
    const app = ask(router.url, '/datasets/request-stream');
    const { request_id: id } = await node.next();
    const { request, reply } = node.begin('/datasets/stream/chunk', id, {
      'Relay-Offset': '0',
      'Relay-Total-Size': '6',
      'Relay-Etag': '"x"',
      'Content-Length': '6',
    });
    request.write('abc');
    await app.received(3);
    await node[Symbol.asyncDispose]();
    await using next = await PlainConnector.connect(router.url, { capabilities: CAPABILITIES });
    request.end('def');
    expect((await reply).status).toBe(200);
    await next.post('/datasets/stream/complete', { request_id: id, total_size: 6 });
    expect((await app.answer).bytes.toString()).toBe('abcdef');
  });
});

describe('a body that stands still', () => {
  test('is given up for another, which the connector is asked for once', async () => {
    await using router = await startRouter({ silenceTimeoutMs: 150 });
    await using node = await PlainConnector.connect(router.url, { capabilities: CAPABILITIES });
    const app = ask(router.url, '/datasets/request-stream');
    const { request_id: id } = await node.next();
    await node.post('/datasets/stream/init', { request_id: id, ...META });
    const { request, reply } = node.begin('/datasets/stream/chunk', id, { 'Relay-Offset': '0', 'Content-Length': '6' });
    request.write('abc');
    expect(await node.next()).toMatchObject({
      command: 'get_dataset_stream',
      request_id: id,
      offset: 3,
      if_match: '"x"',
    });
    await node.post('/datasets/stream/chunk', { request_id: id, offset: 3, data: 'def' });
    await node.post('/datasets/stream/complete', { request_id: id, total_size: 6 });
    expect((await app.answer).bytes.toString()).toBe('abcdef');
    request.destroy();
    await reply.catch(() => {});
  });

  test('ends the request when asking again brings nothing', async () => {
    await using router = await startRouter({ silenceTimeoutMs: 100, firstByteTimeoutMs: 300 });
    await using node = await PlainConnector.connect(router.url, { capabilities: CAPABILITIES });
    const app = ask(router.url, '/datasets/request-stream');
    const { request_id: id } = await node.next();
    await node.post('/datasets/stream/init', { request_id: id, ...META });
    await node.post('/datasets/stream/chunk', { request_id: id, offset: 0, data: 'abc' });
    expect(await node.next()).toMatchObject({ offset: 3 });
    expect((await app.answer).error).toMatchObject({ code: 'ECONNRESET' });
  });
});
