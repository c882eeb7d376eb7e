import { describe, expect, test } from '@jest/globals';
import { WebSocket } from 'ws';
import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { signToken } from '../../../src/router/access/token.ts';
import { startOwnConnector } from '../../support/own-connector.ts';
import { type AppAnswer, ask, call } from '../../support/plain-app.ts';
import { MAC } from '../../support/plain-connector.ts';
import { startRouter } from '../../support/router.ts';

const ORIGIN = 'https://dash.example';
const PAGE = { Origin: ORIGIN };
const SECRET = 'a secret of thirty-two characters';
const DATASET = `/connectors/${MAC}/datasets/a.csv`;
const corsOrigins = ['http://localhost:3000', ORIGIN];
const PREFLIGHT = {
  ...PAGE,
  'Access-Control-Request-Method': 'GET',
  'Access-Control-Request-Headers': 'authorization,range',
};

const listOf = (answer: AppAnswer, name: string): string[] =>
  String(answer.headers[name])
    .split(', ')
    .map((item) => item.toLowerCase());

describe('a page that may ask', () => {
  test('is told so before it has a token', async () => {
    await using router = await startRouter({ corsOrigins, secrets: () => [SECRET] });
    for (const path of [DATASET, '/datasets/request-sync', '/store/objects/x', '/nothing']) {
      const answer = await call(router.url, 'OPTIONS', path, PREFLIGHT);
      expect([path, answer.status, answer.bytes.length]).toEqual([path, 204, 0]);
      expect(answer.headers).toMatchObject({
        'access-control-allow-origin': ORIGIN,
        'access-control-max-age': expect.stringMatching(/^\d+$/),
        vary: 'Origin',
      });
      expect(listOf(answer, 'access-control-allow-methods')).toEqual(
        expect.arrayContaining(['get', 'head', 'post', 'delete']),
      );
      expect(listOf(answer, 'access-control-allow-headers')).toEqual(
        expect.arrayContaining([
          'authorization',
          'range',
          'if-match',
          'if-none-match',
          'if-range',
          'content-type',
          'prefer',
          'want-repr-digest',
        ]),
      );
    }
    // What is no preflight shows a token, as anything else.
    expect((await call(router.url, 'OPTIONS', DATASET, PAGE)).status).toBe(401);
    expect((await call(router.url, 'OPTIONS', DATASET, { ...PREFLIGHT, Origin: 'https://evil.example' })).status).toBe(
      403,
    );
  });

  test('reads datasets, parts of them and what is in the store', async () => {
    await using router = await startRouter({ corsOrigins });
    await using _ = await startOwnConnector(router.url, Buffer.from('abc'));
    const offload = await ask(router.url, '/datasets/request-offload', undefined, PAGE).answer;
    const { pathname, search } = new URL(String(offload.json()['download_url']));
    const answers = [
      offload,
      await call(router.url, 'GET', DATASET, PAGE),
      await call(router.url, 'GET', `${DATASET}?via=sync`, PAGE),
      await call(router.url, 'GET', `${DATASET}?via=offload`, PAGE),
      await call(router.url, 'GET', DATASET, { ...PAGE, Range: 'bytes=0-0' }),
      await call(router.url, 'GET', DATASET, { ...PAGE, 'If-None-Match': '*' }),
      await call(router.url, 'HEAD', DATASET, PAGE),
      await call(router.url, 'GET', pathname + search, PAGE),
      await call(router.url, 'GET', pathname + search, { ...PAGE, 'If-None-Match': '*' }),
      await ask(router.url, '/datasets/request-sync', undefined, PAGE).answer,
      await ask(router.url, '/datasets/request-stream', undefined, PAGE).answer,
      await call(router.url, 'GET', '/connectors', PAGE),
    ];
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 307, 206, 304, 200, 200, 304, 200, 200, 200]);
    for (const answer of answers) {
      expect(answer.headers).toMatchObject({
        'access-control-allow-origin': ORIGIN,
        'cross-origin-resource-policy': 'cross-origin',
        vary: expect.stringMatching(/(?:^|, )Origin$/),
      });
      expect(listOf(answer, 'access-control-expose-headers')).toEqual(
        expect.arrayContaining(['etag', 'content-range', 'accept-ranges', 'content-length', 'relay-request-id']),
      );
    }
    expect(answers[1]?.headers.vary).toBe('Accept-Encoding, Origin');
  });

  test('reads every header by which an answer says what it is', async () => {
    await using router = await startRouter({ corsOrigins });
    await using _ = await startOwnConnector(router.url, Buffer.from('abc'));
    const digest = { 'Want-Repr-Digest': 'sha-256=1' };
    const answers = [
      await call(router.url, 'HEAD', `${DATASET}?on_change=prefix&min_age=0.001`, { ...PAGE, ...digest }),
      await call(router.url, 'GET', `${DATASET}?on_change=prefix&via=sync`, { ...PAGE, ...digest }),
      await call(router.url, 'HEAD', '/connectors/00-00-00-00-00-01/datasets/x', PAGE),
    ];
    const own = answers.flatMap(({ headers }) => Object.keys(headers).filter((name) => /^relay-|digest$/.test(name)));
    expect(own).toEqual(
      expect.arrayContaining([
        'relay-on-change',
        'relay-min-age',
        'relay-current-size',
        'repr-digest',
        'relay-problem',
      ]),
    );
    for (const answer of answers)
      expect(listOf(answer, 'access-control-expose-headers')).toEqual(expect.arrayContaining(own));
  });

  test('reads errors too, whoever refuses', async () => {
    await using router = await startRouter({ corsOrigins, secrets: () => [SECRET] });
    const app = await signToken({ role: 'app', macs: ['*'], datasets: ['b.csv'] }, SECRET);
    const answers = [
      await call(router.url, 'GET', DATASET, PAGE),
      await call(router.url, 'GET', DATASET, { ...PAGE, Authorization: `Bearer ${app}` }),
      await call(router.url, 'GET', '/nothing', { ...PAGE, Authorization: `Bearer ${app}` }),
      await call(router.url, 'PUT', DATASET, { ...PAGE, Authorization: `Bearer ${app}` }),
      await call(router.url, 'GET', '/store/objects/x', PAGE),
    ];
    expect(answers.map(({ status }) => status)).toEqual([401, 403, 404, 405, 403]);
    for (const { headers } of answers)
      expect(headers).toMatchObject({ 'access-control-allow-origin': ORIGIN, vary: 'Accept, Origin' });
  });

  test('is not a node for that', async () => {
    await using router = await startRouter({ corsOrigins });
    expect((await call(router.url, 'GET', `/connectors/${MAC}/events`, PAGE)).status).toBe(403);
    const socket = new WebSocket(`${router.url.replace('http', 'ws')}/connectors/${MAC}/socket`, 'relay.v1', {
      origin: ORIGIN,
    });
    const [, response] = (await once(socket, 'unexpected-response')) as [unknown, IncomingMessage];
    expect(response.statusCode).toBe(403);
    socket.on('error', () => {});
    socket.terminate();
  });

  test('asks a router without tokens only by a name of this machine', async () => {
    await using router = await startRouter({ corsOrigins });
    expect((await call(router.url, 'OPTIONS', DATASET, { ...PREFLIGHT, Host: 'evil.example' })).status).toBe(403);
  });
});

describe('another page', () => {
  test('reads nothing, and caches keep it apart', async () => {
    await using router = await startRouter({ corsOrigins });
    await using _ = await startOwnConnector(router.url, Buffer.from('abc'));
    const refused = await call(router.url, 'GET', DATASET, { Origin: 'https://evil.example' });
    expect(refused.status).toBe(403);
    const plain = await call(router.url, 'GET', DATASET);
    expect(plain.headers).toMatchObject({
      'cross-origin-resource-policy': 'same-origin',
      vary: 'Accept-Encoding, Origin',
    });
    for (const { headers } of [refused, plain]) expect(headers).not.toHaveProperty('access-control-allow-origin');
  });

  test('asks with a token where all may, but not with a password', async () => {
    await using router = await startRouter({ corsOrigins: ['*'], secrets: () => [SECRET] });
    const app = await signToken({ role: 'app', macs: ['*'], datasets: ['**'] }, SECRET);
    const bearer = await call(router.url, 'GET', '/connectors', { ...PAGE, Authorization: `Bearer ${app}` });
    expect([bearer.status, bearer.headers['access-control-allow-origin']]).toEqual([200, '*']);
    expect(bearer.headers).not.toHaveProperty('vary');
    const basic = `Basic ${Buffer.from(`x:${app}`).toString('base64')}`;
    expect((await call(router.url, 'GET', '/connectors', { ...PAGE, Authorization: basic })).status).toBe(403);
    expect((await call(router.url, 'GET', '/connectors', { Authorization: basic })).status).toBe(200);
  });

  test('gets no word about it from a router that lets nobody ask', async () => {
    await using router = await startRouter();
    const preflight = await call(router.url, 'OPTIONS', DATASET, PREFLIGHT);
    expect(preflight.status).toBe(403);
    expect(preflight.headers).toMatchObject({ vary: 'Accept' });
  });
});
