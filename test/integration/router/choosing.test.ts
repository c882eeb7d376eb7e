import { describe, expect, test } from '@jest/globals';
import { createHash, randomBytes } from 'node:crypto';
import { ask, begin, call } from '../../support/plain-app.ts';
import { MAC, PlainConnector } from '../../support/plain-connector.ts';
import { startRouter } from '../../support/router.ts';

const DATASET = `/connectors/${MAC}/datasets/a.csv`;
const RESULT = '/datasets/result';
const INIT = '/datasets/stream/init';
const CHUNK = '/datasets/stream/chunk';
const COMPLETE = '/datasets/stream/complete';
const FAILURE = { code: 'dataset_unreadable', message: 'the disk is broken' };
const MIB = 1024 * 1024;

const digestOf = (content: string): string => `sha-256=:${createHash('sha256').update(content).digest('base64')}:`;

describe('GET without via', () => {
  test('gathers what is small: its digest comes before it, in one answer with a length', async () => {
    await using router = await startRouter({ gatherMs: 10_000 });
    await using node = await PlainConnector.connect(router.url, { capabilities: 'digest' });
    const answer = call(router.url, 'GET', DATASET, { 'Want-Repr-Digest': 'sha-256=1' });
    const { command, request_id } = await node.next();
    expect(command).toBe('get_dataset_stream');
    await node.post(INIT, { request_id, total_size: 6 });
    await node.post(CHUNK, { request_id, offset: 0, data: 'abc', encoding: 'utf8' });
    await node.post(CHUNK, { request_id, offset: 3, data: 'def', encoding: 'utf8' });
    await node.post(COMPLETE, { request_id, total_size: 6, digest: digestOf('abcdef') });
    const { status, headers, bytes, trailers } = await answer;
    expect([status, String(bytes), headers['content-length']]).toEqual([200, 'abcdef', '6']);
    expect([headers['repr-digest'], trailers]).toEqual([digestOf('abcdef'), {}]);
  });

  test('answers with a status where what is small fails in the middle', async () => {
    await using router = await startRouter({ gatherMs: 10_000 });
    await using node = await PlainConnector.connect(router.url);
    const answer = call(router.url, 'GET', DATASET);
    const { request_id } = await node.next();
    await node.postBytes(CHUNK, request_id, 'abc', { 'Relay-Offset': '0', 'Relay-Total-Size': '6' });
    await node.post(RESULT, { request_id, error: FAILURE });
    const { status, error, json } = await answer;
    expect([status, error, json()['code']]).toEqual([502, undefined, 'dataset_unreadable']);
  });

  test('passes on what is small and slow: an app sees the beginning before the end is there', async () => {
    await using router = await startRouter();
    await using node = await PlainConnector.connect(router.url);
    const { response, received, answer } = begin(router.url, 'GET', DATASET);
    const { request_id } = await node.next();
    await node.post(INIT, { request_id, total_size: 6 });
    await node.post(CHUNK, { request_id, offset: 0, data: 'abc', encoding: 'utf8' });
    expect((await response).headers['content-length']).toBe('6');
    expect(await received(3)).toBe('abc');
    await node.post(CHUNK, { request_id, offset: 3, data: 'def', encoding: 'utf8' });
    // The last byte stays back until the end is sure.
    expect(await received(5)).toBe('abcde');
    await node.post(COMPLETE, { request_id, total_size: 6 });
    expect(String((await answer).bytes)).toBe('abcdef');
  });

  test('streams what is large at once, and anything where there is no memory to spare', async () => {
    await using router = await startRouter({ bufferTotalBytes: 0 });
    await using node = await PlainConnector.connect(router.url);
    const { response, received, answer } = begin(router.url, 'GET', DATASET);
    const { request_id } = await node.next();
    await node.post(INIT, { request_id, total_size: 6 });
    await node.post(CHUNK, { request_id, offset: 0, data: 'abc', encoding: 'utf8' });
    await response;
    expect(await received(3)).toBe('abc');
    await node.post(RESULT, { request_id, error: FAILURE });
    expect((await answer).error).toBeDefined();
  });

  test('gives back the memory of what was gathered, whatever became of it', async () => {
    const whole = 'a'.repeat(512);
    // Room for one at a time, since half of it is for pattern A.
    await using router = await startRouter({ bufferTotalBytes: 1024, gatherMs: 10_000 });
    await using node = await PlainConnector.connect(router.url, { capabilities: 'digest' });
    for (const outcome of ['done', 'failed', 'done']) {
      const answer = call(router.url, 'GET', DATASET, { 'Want-Repr-Digest': 'sha-256=1' });
      const { request_id } = await node.next();
      await node.post(INIT, { request_id, total_size: 512 });
      if (outcome === 'failed') await node.post(RESULT, { request_id, error: FAILURE });
      else {
        await node.post(CHUNK, { request_id, data: whole, encoding: 'utf8' });
        await node.post(COMPLETE, { request_id, total_size: 512, digest: digestOf(whole) });
      }
      const { status, headers } = await answer;
      const expected = outcome === 'done' ? [200, digestOf(whole)] : [502, undefined];
      expect([status, headers['repr-digest']]).toEqual(expected);
    }
    // A response is closed a moment after its app has it.
    while (!/^relay_buffered_bytes 0$/m.test(String((await call(router.url, 'GET', '/metrics')).bytes)));
  });

  test('asks a node that cannot stream for all of it, and answers with the same resource', async () => {
    await using router = await startRouter();
    await using node = await PlainConnector.connect(router.url);
    const answer = call(router.url, 'GET', DATASET);
    const first = await node.next();
    expect(first.command).toBe('get_dataset_stream');
    await node.post(RESULT, { request_id: first.request_id, error: { code: 'not_supported', message: 'no' } });
    const second = await node.next();
    expect(second).toMatchObject({ command: 'get_dataset', dataset_name: 'a.csv' });
    expect(second.request_id).not.toBe(first.request_id);
    await node.post(RESULT, { request_id: second.request_id, data: 'abc', etag: '"v1"', content_type: 'text/csv' });
    const { status, headers, bytes } = await answer;
    expect([status, String(bytes)]).toEqual([200, 'abc']);
    expect(headers).toMatchObject({ etag: '"v1"', 'content-type': 'text/csv', 'content-length': '3' });
    // Who asks for a pattern by its name gets no other.
    const forced = call(router.url, 'GET', `${DATASET}?via=stream`);
    const { request_id } = await node.next();
    await node.post(RESULT, { request_id, error: { code: 'not_supported', message: 'no' } });
    expect((await forced).status).toBe(501);
  });

  test('asks a node that fails in another way no second time', async () => {
    await using router = await startRouter();
    await using node = await PlainConnector.connect(router.url);
    const answer = call(router.url, 'GET', DATASET);
    const { request_id } = await node.next();
    await node.post(RESULT, { request_id, error: { code: 'connector_failed', message: 'it broke' } });
    expect((await answer).json()).toMatchObject({ status: 502, code: 'connector_failed', request_id });
  });

  test('fails as pattern A does where that is no way either', async () => {
    await using router = await startRouter({ bufferMaxBytes: 2 });
    await using node = await PlainConnector.connect(router.url);
    const answer = call(router.url, 'GET', DATASET);
    const error = { code: 'not_supported', message: 'no' };
    await node.post(RESULT, { request_id: (await node.next()).request_id, error });
    await node.post(RESULT, { request_id: (await node.next()).request_id, data: 'abc' });
    expect((await answer).status).toBe(413);
    const cancelled = begin(router.url, 'GET', DATASET);
    await node.post(RESULT, { request_id: (await node.next()).request_id, error });
    const { request_id } = await node.next();
    cancelled.request.destroy();
    // Its app is gone, and so is what was asked instead.
    for (;;) {
      const { status } = await node.post(INIT, { request_id, total_size: 1 });
      if (status === 410) break;
    }
  });
});

describe('what is told of the way by the store', () => {
  const SIZE = 32 * MIB;
  const content = randomBytes(MIB);

  /** Has a large dataset streamed whole. */
  async function streamWhole(node: PlainConnector, url: string, size = SIZE): Promise<string | undefined> {
    const { answer } = ask(url, '/datasets/request-stream');
    const { request_id } = await node.next();
    await node.post(INIT, { request_id, total_size: size, etag: '"1"' });
    for (let offset = 0; offset < size; offset += MIB)
      await node.postBytes(CHUNK, request_id, content, { 'Relay-Offset': String(offset) });
    await node.post(COMPLETE, { request_id, total_size: size });
    const { headers } = await answer;
    return headers['relay-offload'] as string | undefined;
  }

  test('nothing, where the operator named no store, the node refuses, or it is small', async () => {
    await using own = await startRouter();
    await using node = await PlainConnector.connect(own.url);
    expect(await streamWhole(node, own.url)).toBeUndefined();
    await using router = await startRouter({ isStoreChosen: true });
    await using refusing = await PlainConnector.connect(router.url, { capabilities: 'no-offload' });
    expect(await streamWhole(refusing, router.url)).toBeUndefined();
    await using willing = await PlainConnector.connect(router.url, { mac: MAC });
    expect(await streamWhole(willing, router.url, SIZE - MIB)).toBeUndefined();
  });

  test('how fast streams and uploads came lately, and that it is there', async () => {
    await using router = await startRouter({ isStoreChosen: true });
    await using node = await PlainConnector.connect(router.url, { capabilities: 'stat' });
    expect(await streamWhole(node, router.url)).toBe('available');
    expect(await streamWhole(node, router.url)).toMatch(/^available;stream=[1-9]\d+$/);
    const { answer } = ask(router.url, '/datasets/request-offload');
    const asked = await node.next();
    await node.post(RESULT, { request_id: asked.request_id, dataset: { name: 'a.csv', size: SIZE, etag: '"1"' } });
    const { request_id, upload } = (await node.next()) as unknown as {
      request_id: string;
      upload: { url: string; download_url: string };
    };
    const body = Buffer.concat(Array.from({ length: SIZE / MIB }, () => content));
    expect((await fetch(upload.url, { method: 'PUT', body })).status).toBe(200);
    await node.post(RESULT, { request_id, download_url: upload.download_url, size: SIZE });
    expect((await answer).status).toBe(200);
    expect(await streamWhole(node, router.url)).toMatch(/^available;stored;stream=[1-9]\d+;upload=[1-9]\d+$/);
  });

  test('that the router is short of memory', async () => {
    await using router = await startRouter({ isStoreChosen: true, windowTotalBytes: MIB });
    await using ahead = await PlainConnector.connect(router.url, { capabilities: 'parallel' });
    ask(router.url, '/datasets/request-stream').answer.catch(() => {});
    const { request_id } = await ahead.next();
    await ahead.post(INIT, { request_id, total_size: SIZE });
    // What comes before its turn fills the memory for that: it is answered only when there is room.
    const waiting = ahead.begin(CHUNK, request_id, { 'Relay-Offset': String(MIB) });
    waiting.request.end(content);
    await using node = await PlainConnector.connect(router.url, { mac: 'cc-28-aa-01-02-04' });
    let told: string | string[] | undefined = 'available';
    // Until what was sent ahead has come.
    while (told === 'available') {
      const { response, request } = ask(router.url, '/datasets/request-stream', {
        mac: 'cc-28-aa-01-02-04',
        dataset: 'a.csv',
      });
      const command = await node.next();
      if (command.command !== 'get_dataset_stream') continue;
      await node.post(INIT, { request_id: command.request_id, total_size: SIZE });
      await node.postBytes(CHUNK, command.request_id, content, { 'Relay-Offset': '0' });
      const { headers } = await response;
      request.destroy();
      told = headers['relay-offload'];
    }
    expect(told).toBe('available;short');
    waiting.request.destroy();
  });
});
