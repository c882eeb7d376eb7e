import { once } from 'node:events';
import { describe, expect, test } from '@jest/globals';
import type { Mac } from '../../../src/protocol/mac.ts';
import { signToken } from '../../../src/router/access/token.ts';
import { type AppAnswer, ask, call } from '../../support/plain-app.ts';
import { MAC, PlainConnector } from '../../support/plain-connector.ts';
import { startRouter } from '../../support/router.ts';

const RESULT = '/datasets/result';
const DATASETS = `/connectors/${MAC}/datasets`;
const CAPABILITIES = 'stat, list, digest, inline';
const OTHER_MAC = 'cc-28-aa-01-02-04';
const SECRET = 'a secret of more than thirty-two characters';
/** Longer than a test may take: nothing below waits for it. */
const LONG_MS = 20_000;
const PATIENT = { firstByteTimeoutMs: LONG_MS, silenceTimeoutMs: LONG_MS };

const sync = (url: string): Promise<AppAnswer> => ask(url, '/datasets/request-sync').answer;
const offload = (url: string): Promise<AppAnswer> => ask(url, '/datasets/request-offload').answer;
const digest = (url: string): Promise<AppAnswer> => ask(url, '/datasets/request-digest').answer;
const list = (url: string): Promise<AppAnswer> => call(url, 'GET', DATASETS);
const stat = (url: string): Promise<AppAnswer> => call(url, 'GET', `${DATASETS}/a.csv?via=offload`);

/** What is asked, what comes for it, and what the words about it name. */
const MISFITS: [string, (url: string) => Promise<AppAnswer>, object, string][] = [
  ['a listing with a size that is none', list, { datasets: [{ name: 'a.csv', size: -1 }] }, 'datasets.0.size'],
  ['a listing that is none', list, { datasets: 'a.csv' }, 'datasets'],
  ['a listing without anything', list, {}, 'list'],
  ['a listing that is bytes', list, { data: 'a.csv' }, 'list'],
  ['a look with a bad type', stat, { dataset: { name: 'a.csv', size: 1, content_type: 'a\nb' } }, 'content_type'],
  ['a look at a name that is none', stat, { dataset: { name: '../evil', size: 1 } }, 'dataset.name'],
  ['a digest that is none', digest, { digest: 'md5=:AA==:', size: 1 }, 'digest'],
  ['a digest without a size', digest, { digest: `sha-256=:${Buffer.alloc(32).toString('base64')}:` }, 'digest'],
  ['data in an unknown encoding', sync, { data: 'abc', encoding: 'hex' }, 'encoding'],
  ['data that is no base64', sync, { data: 'a*b=', encoding: 'base64' }, 'data'],
  ['no data', sync, {}, 'get_dataset'],
  ['a failure with a code that is none', sync, { error: { code: 7 } }, 'error.code'],
];

describe('a result that cannot be used ends its request at once', () => {
  test.each(MISFITS)('%s, by a POST', async (_, start, result, named) => {
    await using router = await startRouter(PATIENT);
    await using node = await PlainConnector.connect(router.url, { capabilities: CAPABILITIES });
    const app = start(router.url);
    const { request_id } = await node.next();
    // The id last, as who sorts by names sends it.
    const reply = await node.post(RESULT, { ...result, request_id });
    expect(reply).toMatchObject({ status: 400, body: { code: 'invalid_request', request_id } });
    const answer = await app;
    expect([answer.status, answer.json()]).toEqual([502, expect.objectContaining({ code: 'connector_failed' })]);
    expect(answer.json()['detail']).toContain(named);
    // Sent again, it gets an answer, too.
    expect([400, 410]).toContain((await node.post(RESULT, { ...result, request_id })).status);
  });

  test.each(MISFITS)('%s, over the link', async (_, start, result, named) => {
    await using router = await startRouter(PATIENT);
    await using node = await PlainConnector.connect(router.url, { capabilities: CAPABILITIES });
    const app = start(router.url);
    const { request_id } = await node.next();
    node.socket.send(JSON.stringify({ result: { ...result, request_id } }));
    const answer = await app;
    expect([answer.status, answer.json()]).toEqual([502, expect.objectContaining({ code: 'connector_failed' })]);
    expect(answer.json()['detail']).toContain(named);
  });

  test.each([
    ['bytes with an entity tag that is none', (id: string) => Buffer.from(`{"request_id":"${id}","etag":"weak"}\nabc`)],
    ['what is no JSON', (id: string) => `{"result": {"request_id": "${id}", "data": NaN}}`],
  ])('%s, over the link', async (_, write) => {
    await using router = await startRouter(PATIENT);
    await using node = await PlainConnector.connect(router.url, { capabilities: CAPABILITIES });
    const app = sync(router.url);
    node.socket.send(write((await node.next()).request_id));
    expect((await app).json()).toMatchObject({ code: 'connector_failed' });
  });

  test.each([
    ['what is no JSON', (id: string) => `{"request_id": "${id}", "size": NaN}`],
    ['what is no UTF-8', (id: string) => Buffer.from(`{"request_id": "${id}", "data": "\xff"}`, 'latin1')],
  ])('%s, by a POST', async (_, write) => {
    await using router = await startRouter(PATIENT);
    await using node = await PlainConnector.connect(router.url);
    const app = sync(router.url);
    const { request_id } = await node.next();
    const reply = await fetch(router.url + RESULT, { method: 'POST', body: write(request_id) });
    expect(reply.status).toBe(400);
    expect((await app).json()).toMatchObject({ code: 'connector_failed' });
  });

  test('bytes that say something impossible of themselves', async () => {
    await using router = await startRouter(PATIENT);
    await using node = await PlainConnector.connect(router.url);
    const app = sync(router.url);
    const { request_id } = await node.next();
    expect((await node.postBytes(RESULT, request_id, 'abc', { 'Relay-Etag': 'weak' })).status).toBe(400);
    expect((await app).json()).toMatchObject({
      code: 'connector_failed',
      detail: expect.stringContaining('Relay-Etag'),
    });
  });
});

describe('what does not fit leaves a request alone', () => {
  test('where it is no result, but a part of an answer', async () => {
    await using router = await startRouter(PATIENT);
    await using node = await PlainConnector.connect(router.url);
    const app = sync(router.url);
    const { request_id } = await node.next();
    for (const [path, body] of [
      ['init', { total_size: -1 }],
      ['chunk', { data: 7 }],
      ['chunk', { data: '*', encoding: 'base64' }],
      ['complete', { digest: 'x' }],
      ['complete', {}],
    ] as const)
      expect((await node.post(`/datasets/stream/${path}`, { request_id, ...body })).status).toBe(400);
    expect((await node.post(RESULT, { request_id, data: 'abc' })).status).toBe(200);
    expect((await app).json()).toMatchObject({ data: 'abc' });
  });

  test('where it comes from another connector, by a POST and over the link', async () => {
    await using router = await startRouter({ ...PATIENT, secrets: () => [SECRET] });
    const token = (mac: string): Promise<string> => signToken({ role: 'connector', macs: [mac as Mac] }, SECRET);
    await using node = await PlainConnector.connect(router.url, { capabilities: 'inline', token: await token(MAC) });
    const foreign = { mac: OTHER_MAC, capabilities: 'inline', token: await token(OTHER_MAC) };
    await using other = await PlainConnector.connect(router.url, foreign);
    const app = await signToken({ role: 'app', macs: [MAC as Mac], datasets: ['**'] }, SECRET);
    const headers = { Authorization: `Bearer ${app}` };
    const { answer } = ask(router.url, '/datasets/request-sync', undefined, headers);
    const { request_id } = await node.next();
    const misfit = { request_id, data: 7 };
    expect((await other.post(RESULT, misfit)).status).toBe(400);
    expect((await other.post(RESULT, { request_id })).status).toBe(403);
    other.socket.send(JSON.stringify({ result: misfit }));
    other.socket.send(Buffer.from(`{"request_id":"${request_id}","etag":"weak"}\n`));
    other.socket.ping();
    await once(other.socket, 'pong');
    await node.post(RESULT, { request_id, data: 'abc' });
    expect((await answer).json()).toMatchObject({ data: 'abc' });
  });

  test('where a result is being taken in already', async () => {
    await using router = await startRouter({ ...PATIENT, offloadOrigins: [] });
    await using node = await PlainConnector.connect(router.url);
    const app = offload(router.url);
    const { request_id, upload } = await node.next();
    const { url, download_url } = upload as Record<string, string>;
    await fetch(url as string, { method: 'PUT', body: 'abc' });
    const [first, second] = await Promise.all([
      node.post(RESULT, { request_id, download_url }),
      node.post(RESULT, { request_id, download_url: 7 }),
    ]);
    // Whichever of the two was read first counts.
    if (first.status === 200) expect((await app).json()).toMatchObject({ size: 3 });
    else expect((await app).json()).toMatchObject({ code: 'connector_failed' });
    expect(second.status).toBe(400);
  });
});

test('a listing leaves out what bears no name of a dataset, and has the rest', async () => {
  await using router = await startRouter(PATIENT);
  await using node = await PlainConnector.connect(router.url, { capabilities: 'list, list-filter' });
  const bad = ['../evil', '/etc/passwd', 'a//b', 'caf\udce9.csv', '', 'a\0b', 'x'.repeat(5000)];
  const datasets = [...bad, 'a.csv', 'b.csv'].map((name) => ({ name, size: 1 }));
  const app = call(router.url, 'GET', `${DATASETS}?delimiter=/`);
  const { request_id } = await node.next();
  const prefixes = ['c/', '../', 'd', '/'];
  expect((await node.post(RESULT, { request_id, datasets, prefixes })).status).toBe(200);
  const answer = await app;
  expect([answer.status, answer.json()]).toEqual([
    200,
    {
      datasets: [
        { name: 'a.csv', size: 1 },
        { name: 'b.csv', size: 1 },
      ],
      prefixes: ['c/'],
    },
  ]);
});
