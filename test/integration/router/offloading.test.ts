import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { ask, call } from '../../support/plain-app.ts';
import { MAC, PlainConnector, type RawCommand } from '../../support/plain-connector.ts';
import { makeTempDir, startRouter } from '../../support/router.ts';

const OFFLOAD = '/datasets/request-offload';
const RESULT = '/datasets/result';
const ASYNC = { Prefer: 'respond-async' };

interface UploadCommand extends RawCommand {
  upload: { method: string; url: string; headers: Record<string, string>; download_url: string };
}

/** Answers the question that comes before an upload. */
async function answerStat(node: PlainConnector, etag = '"1"'): Promise<void> {
  const { command, request_id } = await node.next();
  expect(command).toBe('stat');
  await node.post(RESULT, { request_id, dataset: { name: 'a.csv', size: 5, etag } });
}

const put = (url: string, body: string): Promise<Response> => fetch(url, { method: 'PUT', body });

async function status(url: string, id: string): Promise<Record<string, unknown>> {
  return (await call(url, 'GET', `/requests/${id}`)).json();
}

describe('pattern C', () => {
  test('lets a plain connector upload with one PUT, and hands out a URL signed anew', async () => {
    await using router = await startRouter();
    await using node = await PlainConnector.connect(router.url);
    const { answer } = ask(router.url, OFFLOAD);
    const { request_id, upload } = (await node.next()) as UploadCommand;
    expect(upload.method).toBe('PUT');
    expect((await put(upload.url, 'hello')).status).toBe(200);
    expect(await node.post(RESULT, { request_id, download_url: upload.download_url, size: 5 })).toMatchObject({
      status: 200,
    });
    const { download_url, size } = (await answer).json() as { download_url: string; size: number };
    expect(size).toBe(5);
    expect(download_url).not.toBe(upload.download_url);
    expect(await (await fetch(download_url)).text()).toBe('hello');
    expect((await fetch(upload.download_url)).status).toBe(403);
  });

  test('does not upload an unchanged dataset again, unless it is asked to', async () => {
    await using router = await startRouter();
    await using node = await PlainConnector.connect(router.url, { capabilities: 'stat' });
    const upload = async (content: string): Promise<void> => {
      const { request_id, upload: target } = (await node.next()) as UploadCommand;
      await put(target.url, content);
      await node.post(RESULT, { request_id, download_url: target.download_url, size: 5 });
    };
    const fetchNow = async (answer: ReturnType<typeof ask>['answer']): Promise<string> => {
      const { download_url } = (await answer).json() as { download_url: string };
      return (await fetch(download_url)).text();
    };
    const first = ask(router.url, OFFLOAD).answer;
    await answerStat(node);
    await upload('first');
    expect(await fetchNow(first)).toBe('first');
    const second = ask(router.url, OFFLOAD).answer;
    await answerStat(node);
    expect(await fetchNow(second)).toBe('first');
    const third = ask(router.url, OFFLOAD, undefined, { 'Cache-Control': 'no-cache' }).answer;
    await answerStat(node);
    await upload('third');
    expect(await fetchNow(third)).toBe('third');
    const fourth = ask(router.url, OFFLOAD).answer;
    await answerStat(node);
    expect(await fetchNow(fourth)).toBe('third');
  });

  test('asks for a digest only where the app does, and says so only to who can give one', async () => {
    await using router = await startRouter();
    await using node = await PlainConnector.connect(router.url, { capabilities: 'digest' });
    for (const [headers, want_digest] of [
      [{}, false],
      [{ 'Want-Repr-Digest': 'sha-256=1' }, true],
      [{ ...ASYNC, 'Want-Repr-Digest': 'sha-256=1' }, true],
    ] as const) {
      const { request } = ask(router.url, OFFLOAD, undefined, headers);
      expect(await node.next()).toMatchObject({ command: 'get_dataset_offload', want_digest });
      request.destroy();
    }
    await using plain = await PlainConnector.connect(router.url, { mac: 'cc-28-aa-01-02-99' });
    const { request } = ask(router.url, OFFLOAD, { mac: 'cc-28-aa-01-02-99', dataset: 'a.csv' });
    expect(await plain.next()).not.toHaveProperty('want_digest');
    request.destroy();
  });

  test('takes parts in any order and makes one object of them', async () => {
    await using router = await startRouter();
    await using node = await PlainConnector.connect(router.url, { capabilities: 'multipart, progress' });
    const { answer } = ask(router.url, OFFLOAD);
    const { request_id, upload } = (await node.next()) as UploadCommand;
    const size = 16 * 1024 * 1024 + 5;
    const grant = (await node.post('/datasets/offload/parts', { request_id, part_numbers: [2, 1], total_size: size }))
      .body as {
      parts: { part_number: number; url: string }[];
      part_size: number;
    };
    expect(grant.part_size).toBe(16 * 1024 * 1024);
    const parts = await Promise.all(
      grant.parts.map(async ({ part_number, url }) => {
        const response = await put(url, part_number === 1 ? 'a'.repeat(grant.part_size) : 'tail!');
        return { part_number, etag: response.headers.get('etag') };
      }),
    );
    await node.post(RESULT, { request_id, download_url: upload.download_url, parts, size });
    const { download_url } = (await answer).json() as { download_url: string };
    const tail = await fetch(download_url, { headers: { Range: 'bytes=-6' } });
    expect(tail.status).toBe(206);
    expect(await tail.text()).toBe('atail!');
  });

  test.each([
    ['an object that is not there', { size: 5 }, false],
    ['another size than the object has', { size: 7 }, true],
    ['a URL of a foreign origin', { download_url: 'http://169.254.169.254/x', size: 5 }, true],
    ['parts that were never asked for', { size: 5, parts: [{ part_number: 1, etag: '"x"' }] }, true],
  ])('refuses a result with %s', async (_, result, uploaded) => {
    await using router = await startRouter();
    await using node = await PlainConnector.connect(router.url);
    const { answer } = ask(router.url, OFFLOAD);
    const { request_id, upload } = (await node.next()) as UploadCommand;
    if (uploaded) await put(upload.url, 'hello');
    expect((await node.post(RESULT, { request_id, download_url: upload.download_url, ...result })).status).toBe(400);
    expect((await answer).json()).toMatchObject({ code: 'connector_failed' });
  });

  test('hands out a node’s own URL on an origin that it was told', async () => {
    await using router = await startRouter({ offloadOrigins: ['https://store.example'] });
    await using node = await PlainConnector.connect(router.url);
    const { answer } = ask(router.url, OFFLOAD);
    const { request_id } = await node.next();
    const download_url = 'https://store.example/x?signature=1';
    await node.post(RESULT, { request_id, download_url, size: 5 });
    expect((await answer).json()).toMatchObject({ download_url, size: 5 });
  });

  test.each([
    ['a name that begins as it does', 'https://store.example.evil/x'],
    ['a name that ends as it does', 'https://evil-store.example/x'],
    ['a name below it', 'https://evil.store.example/x'],
    ['its name as a user', 'https://store.example@evil.example/x'],
    ['another port', 'https://store.example:8443/x'],
    ['another scheme', 'http://store.example/x'],
    ['another scheme on its port', 'http://store.example:443/x'],
  ])('refuses a node’s own URL on %s', async (_, download_url) => {
    await using router = await startRouter({ offloadOrigins: ['https://store.example'] });
    await using node = await PlainConnector.connect(router.url);
    const { answer } = ask(router.url, OFFLOAD);
    const { request_id } = await node.next();
    expect(await node.post(RESULT, { request_id, download_url, size: 5 })).toMatchObject({
      status: 400,
      body: { code: 'invalid_request', detail: expect.stringContaining('download_url') },
    });
    const refused = (await answer).json();
    expect(refused).toMatchObject({ code: 'connector_failed' });
    expect(refused).not.toHaveProperty('download_url');
  });

  test('refuses another node’s object, which is nobody else’s to give away', async () => {
    await using router = await startRouter();
    const ofOther = 'cc-28-aa-01-02-04';
    await using other = await PlainConnector.connect(router.url, { mac: ofOther });
    const asked = ask(router.url, OFFLOAD, { mac: ofOther, dataset: 'secret.csv' }).answer;
    const theirs = (await other.next()) as UploadCommand;
    expect((await put(theirs.upload.url, 'hello')).status).toBe(200);
    const { download_url } = theirs.upload;
    await other.post(RESULT, { request_id: theirs.request_id, download_url, size: 5 });
    const signed = String((await asked).json()['download_url']);
    // By its name, and as the app of the other got it.
    for (const url of [download_url, signed]) {
      await using node = await PlainConnector.connect(router.url);
      const { answer } = ask(router.url, OFFLOAD);
      const { request_id } = await node.next();
      expect(await node.post(RESULT, { request_id, download_url: url, size: 5 })).toMatchObject({ status: 400 });
      expect((await answer).json()).toMatchObject({ code: 'connector_failed' });
    }
    // And it is still there for those who may have it.
    expect(await (await fetch(signed)).text()).toBe('hello');
  });

  test('uploads the same content once, and changed content again', async () => {
    await using router = await startRouter();
    await using node = await PlainConnector.connect(router.url, { capabilities: 'stat' });
    const upload = async (etag: string, body: string): Promise<void> => {
      const { request_id, upload: target, if_match } = (await node.next()) as UploadCommand;
      expect(if_match).toBe(etag);
      await put(target.url, body);
      await node.post(RESULT, { request_id, download_url: target.download_url, size: 5, etag });
    };
    const first = ask(router.url, OFFLOAD);
    await answerStat(node);
    await upload('"1"', 'first');
    expect((await first.answer).status).toBe(200);

    const second = ask(router.url, OFFLOAD);
    await answerStat(node);
    const { download_url, etag } = (await second.answer).json() as { download_url: string; etag: string };
    expect(etag).toBe('"1"');
    expect(await (await fetch(download_url)).text()).toBe('first');

    const third = ask(router.url, OFFLOAD);
    await answerStat(node, '"2"');
    await upload('"2"', 'again');
    const changed = (await third.answer).json() as { download_url: string };
    expect(await (await fetch(changed.download_url)).text()).toBe('again');
  });

  test('joins an upload under way, and stops it only when the last one is cancelled', async () => {
    await using router = await startRouter();
    await using node = await PlainConnector.connect(router.url, { capabilities: 'stat, cancel' });
    const begin = async (): Promise<string> => {
      const asked = await ask(router.url, OFFLOAD, undefined, ASYNC).answer;
      expect(asked.status).toBe(202);
      const { request_id } = await node.next();
      await node.post(RESULT, { request_id, dataset: { name: 'a.csv', size: 5, etag: '"1"' } });
      expect(asked.headers.location).toBe(`${router.url}/requests/${asked.headers['relay-request-id']}`);
      return asked.headers['relay-request-id'] as string;
    };
    const first = await begin();
    const command = (await node.next()) as UploadCommand;
    expect(command).toMatchObject({ command: 'get_dataset_offload', request_id: first });
    const second = await begin();
    const third = await begin();
    expect((await call(router.url, 'DELETE', `/requests/${first}`)).status).toBe(204);
    expect(await status(router.url, first)).toMatchObject({ state: 'cancelled', error: { code: 'cancelled' } });
    await put(command.upload.url, 'hello');
    await node.post(RESULT, { request_id: first, download_url: command.upload.download_url, size: 5, etag: '"1"' });
    for (const id of [second, third]) {
      const done = (await call(router.url, 'GET', `/requests/${id}?wait=5`)).json();
      expect(done).toMatchObject({ state: 'done', total_size: 5, bytes_done: 5, etag: '"1"' });
      expect(await (await fetch(done['download_url'] as string)).text()).toBe('hello');
    }
  });

  test('stops the upload and frees the store when nobody wants it any more', async () => {
    await using router = await startRouter();
    await using node = await PlainConnector.connect(router.url, { capabilities: 'cancel' });
    const asked = await ask(router.url, OFFLOAD, undefined, ASYNC).answer;
    const id = asked.headers['relay-request-id'] as string;
    const command = (await node.next()) as UploadCommand;
    await put(command.upload.url, 'hello');
    await call(router.url, 'DELETE', `/requests/${id}`);
    expect(await node.next()).toEqual({ command: 'cancel', request_id: id });
    const late = await node.post(RESULT, { request_id: id, download_url: command.upload.download_url, size: 5 });
    expect(late).toMatchObject({ status: 410, body: { code: 'cancelled' } });
  });

  test('cancels a synchronous request whose app goes away, and lets an asynchronous one go on', async () => {
    await using router = await startRouter();
    await using node = await PlainConnector.connect(router.url, { capabilities: 'cancel' });
    const { request } = ask(router.url, OFFLOAD);
    const { request_id } = await node.next();
    request.destroy();
    expect(await node.next()).toEqual({ command: 'cancel', request_id });
    const asked = await ask(router.url, OFFLOAD, undefined, ASYNC).answer;
    const id = asked.headers['relay-request-id'] as string;
    const command = (await node.next()) as UploadCommand;
    await put(command.upload.url, 'hello');
    await node.post(RESULT, { request_id: id, download_url: command.upload.download_url, size: 5 });
    expect(await status(router.url, id)).toMatchObject({ state: 'done' });
  });

  test('reports how far an upload is', async () => {
    await using router = await startRouter();
    await using node = await PlainConnector.connect(router.url, { capabilities: 'progress' });
    const asked = await ask(router.url, OFFLOAD, undefined, ASYNC).answer;
    const id = asked.headers['relay-request-id'] as string;
    await node.next();
    await node.post('/datasets/offload/progress', { request_id: id, bytes_done: 3, total_size: 5 });
    expect(await status(router.url, id)).toMatchObject({ state: 'running', bytes_done: 3, total_size: 5 });
  });

  test('is not available without a store', async () => {
    await using router = await startRouter({ storeLocation: { kind: 'none' } });
    await using _node = await PlainConnector.connect(router.url);
    const got = await ask(router.url, OFFLOAD).answer;
    expect(got.status).toBe(501);
    expect(got.json()).toMatchObject({ code: 'offload_unavailable', retryable: false });
  });

  test('says 507 when the store has no space', async () => {
    await using router = await startRouter({ storeMaxBytes: 3 });
    await using node = await PlainConnector.connect(router.url);
    const { answer } = ask(router.url, OFFLOAD);
    const { request_id, upload } = (await node.next()) as UploadCommand;
    const refused = await put(upload.url, 'hello');
    expect(refused.status).toBe(507);
    await node.post(RESULT, { request_id, error: { code: 'store_full', message: 'no space' } });
    expect((await answer).status).toBe(507);
  });

  test('takes an upload from before a restart out of its index', async () => {
    await using temporary = await makeTempDir();
    const options = {
      stateDir: `${temporary.path}/state`,
      storeLocation: { kind: 'file', directory: `${temporary.path}/store` },
    } as const;
    {
      await using router = await startRouter(options);
      await using node = await PlainConnector.connect(router.url, { capabilities: 'stat' });
      const { answer } = ask(router.url, OFFLOAD);
      await answerStat(node);
      const { request_id, upload } = (await node.next()) as UploadCommand;
      await put(upload.url, 'hello');
      await node.post(RESULT, { request_id, download_url: upload.download_url, size: 5, etag: '"1"' });
      expect((await answer).status).toBe(200);
    }
    await using router = await startRouter(options);
    await using node = await PlainConnector.connect(router.url, { capabilities: 'stat' });
    const { answer } = ask(router.url, OFFLOAD, { mac: MAC, dataset: 'a.csv' });
    await answerStat(node);
    const { download_url } = (await answer).json() as { download_url: string };
    expect(await (await fetch(download_url)).text()).toBe('hello');
  });
});

describe('request-digest', () => {
  test('asks the node for the digest of the whole', async () => {
    await using router = await startRouter();
    await using node = await PlainConnector.connect(router.url, { capabilities: 'digest' });
    const { answer } = ask(router.url, '/datasets/request-digest');
    const { request_id, command } = await node.next();
    expect(command).toBe('digest');
    const digest = 'sha-256=:ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=:';
    await node.post(RESULT, { request_id, size: 3, etag: '"e"', digest });
    expect((await answer).json()).toEqual({ size: 3, etag: '"e"', digest });
  });

  test('is not supported by a plain connector', async () => {
    await using router = await startRouter();
    await using _node = await PlainConnector.connect(router.url);
    expect((await ask(router.url, '/datasets/request-digest').answer).status).toBe(501);
  });
});

describe('an upload that stopped', () => {
  const PART = 16 * 1024 * 1024;
  const SIZE = PART + 5;
  const CAPABILITIES = 'multipart, progress, stat';

  interface Grant {
    parts: { part_number: number; url: string }[];
    part_size: number;
    done?: { part_number: number; etag: string; size: number }[];
  }

  /** Answers the two commands of an offload: looks at the dataset, and asks for its first part. */
  async function begin(node: PlainConnector, etag = '"1"', more: object = { want_done: true }) {
    const stat = await node.next();
    await node.post(RESULT, { request_id: stat.request_id, dataset: { name: 'a.csv', size: SIZE, etag } });
    return take(node, (await node.next()) as UploadCommand, more);
  }

  async function take(node: PlainConnector, command: UploadCommand, more: object = { want_done: true }) {
    const { request_id, upload } = command;
    const body = { request_id, part_numbers: [1, 2], total_size: SIZE, ...more };
    const reply = await node.post('/datasets/offload/parts', body);
    const grant = reply.body as unknown as Grant;
    const sendPart = async (number: number): Promise<{ part_number: number; etag: string }> => {
      const url = grant.parts.find(({ part_number: n }) => n === number)?.url ?? '';
      const { headers } = await put(url, number === 1 ? 'a'.repeat(PART) : 'tail!');
      return { part_number: number, etag: String(headers.get('etag')) };
    };
    return { request_id, upload, grant, sendPart };
  }

  test('goes on after a restart of the router, from the parts that are stored', async () => {
    await using directory = await makeTempDir();
    const where = {
      stateDir: join(directory.path, 'state'),
      storeLocation: { kind: 'file', directory: join(directory.path, 'store') },
    } as const;
    const first = await startRouter(where);
    const node = await PlainConnector.connect(first.url, { capabilities: CAPABILITIES });
    await ask(first.url, OFFLOAD, undefined, ASYNC).answer;
    const before = await begin(node);
    expect(before.grant.done).toEqual([]);
    const one = await before.sendPart(1);
    await node[Symbol.asyncDispose]();
    await first[Symbol.asyncDispose]();
    await using second = await startRouter(where);
    await using again = await PlainConnector.connect(second.url, { capabilities: CAPABILITIES });
    const { answer } = ask(second.url, OFFLOAD);
    const after = await begin(again);
    expect(new URL(after.upload.download_url).pathname).toBe(new URL(before.upload.download_url).pathname);
    expect(after.grant.done).toEqual([{ ...one, size: PART }]);
    const { request_id, upload } = after;
    const parts = [one, await after.sendPart(2)];
    await again.post(RESULT, { request_id, download_url: upload.download_url, size: SIZE, etag: '"1"', parts });
    const { download_url: url } = (await answer).json() as { download_url: string };
    expect((await (await fetch(url)).text()).length).toBe(SIZE);
  });

  test('is taken over by another process of its connector', async () => {
    await using router = await startRouter();
    const node = await PlainConnector.connect(router.url, { capabilities: CAPABILITIES, instance: 'one' });
    const { answer } = ask(router.url, OFFLOAD);
    const before = await begin(node);
    const one = await before.sendPart(1);
    await node[Symbol.asyncDispose]();
    await using again = await PlainConnector.connect(router.url, { capabilities: CAPABILITIES, instance: 'two' });
    const after = await take(again, (await again.next()) as UploadCommand);
    expect([after.request_id, after.grant.done]).toEqual([before.request_id, [{ ...one, size: PART }]]);
    const { request_id, upload } = after;
    const parts = [one, await after.sendPart(2)];
    await again.post(RESULT, { request_id, download_url: upload.download_url, size: SIZE, etag: '"1"', parts });
    expect((await answer).json()).toMatchObject({ status: 'success', size: SIZE });
  });

  test.each([
    ['goes on after a failure that may pass', 'connector_failed', '"1"', 1],
    ['leaves nothing to another version', 'connector_failed', '"2"', 0],
    ['leaves nothing when the dataset changed', 'dataset_changed', '"1"', 0],
  ])('%s', async (_, code, etag, done) => {
    await using router = await startRouter();
    await using node = await PlainConnector.connect(router.url, { capabilities: CAPABILITIES });
    const failing = ask(router.url, OFFLOAD).answer;
    const before = await begin(node);
    await before.sendPart(1);
    await node.post(RESULT, { request_id: before.request_id, error: { code, message: 'x' } });
    expect((await failing).json()).toMatchObject({ code });
    const waiting = ask(router.url, OFFLOAD);
    const after = await begin(node, etag);
    expect(after.grant.done?.length).toBe(done);
    const isSame = after.upload.download_url === before.upload.download_url;
    expect(isSame).toBe(done === 1);
    if (!isSame) expect((await put(before.grant.parts[1]?.url ?? '', 'tail!')).status).toBe(404);
    waiting.request.destroy();
  });

  test('leaves nothing when it is cancelled', async () => {
    await using router = await startRouter();
    await using node = await PlainConnector.connect(router.url, { capabilities: CAPABILITIES });
    const { request_id: id } = (await ask(router.url, OFFLOAD, undefined, ASYNC).answer).json();
    const before = await begin(node);
    await before.sendPart(1);
    expect((await call(router.url, 'DELETE', `/requests/${String(id)}`)).status).toBe(204);
    const waiting = ask(router.url, OFFLOAD);
    const after = await begin(node);
    expect(after.grant.done).toEqual([]);
    waiting.request.destroy();
  });

  test('is sent whole by a connector that does not ask what is there', async () => {
    await using router = await startRouter();
    await using node = await PlainConnector.connect(router.url, { capabilities: CAPABILITIES });
    const failing = ask(router.url, OFFLOAD).answer;
    const before = await begin(node, '"1"', {});
    expect(before.grant.done).toBeUndefined();
    await before.sendPart(1);
    await node.post(RESULT, { request_id: before.request_id, error: { code: 'connector_failed', message: 'x' } });
    await failing;
    const { answer } = ask(router.url, OFFLOAD);
    const { request_id, upload, grant, sendPart } = await begin(node, '"1"', {});
    expect(grant.done).toBeUndefined();
    const parts = [await sendPart(1), await sendPart(2)];
    await node.post(RESULT, { request_id, download_url: upload.download_url, size: SIZE, etag: '"1"', parts });
    expect((await answer).json()).toMatchObject({ status: 'success', size: SIZE });
  });
});
