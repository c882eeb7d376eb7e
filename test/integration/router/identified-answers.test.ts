import { describe, expect, test } from '@jest/globals';
import net from 'node:net';
import { once } from 'node:events';
import { ask, call, speak } from '../../support/plain-app.ts';
import { MAC, PlainConnector } from '../../support/plain-connector.ts';
import { LIMITS, startRouter } from '../../support/router.ts';

const ID = /^[0-9a-f]{8}-[0-9a-f]{32}$/;
const DATASETS = `/connectors/${MAC}/datasets`;

/** The head of an answer and its problem document. */
function readAnswer(text: string): { status: string; id: string | undefined; problem: Record<string, unknown> } {
  const [head = '', body = ''] = text.split('\r\n\r\n', 2);
  expect(head).toMatch(/\r\ncontent-type: application\/problem\+json/i);
  expect(head).toMatch(new RegExp(`\\r\\ncontent-length: ${Buffer.byteLength(body)}(?:\\r|$)`, 'i'));
  return {
    status: head.slice(0, head.indexOf('\r\n')),
    id: /\r\nrelay-request-id: ([^\r]*)/i.exec(head)?.[1],
    problem: JSON.parse(body) as Record<string, unknown>,
  };
}

describe('an answer to an app has an id and, where it is an error, a problem document', () => {
  test.each<[string, string, Record<string, string>, number, string]>([
    ['GET', `${DATASETS}/%ff`, {}, 400, 'invalid_request'],
    ['GET', '/%ff', {}, 404, 'not_found'],
    ['GET', '/', {}, 404, 'not_found'],
    ['GET', '/healthz', { Host: 'evil.example' }, 403, 'forbidden'],
    ['POST', '/datasets/request-sync', { Host: 'evil.example' }, 403, 'forbidden'],
    ['GET', '/store/objects/x', { Host: 'evil.example' }, 403, 'forbidden'],
    ['GET', '/healthz', { Via: '1.1 proxy' }, 403, 'forbidden'],
    ['GET', '/healthz', { Origin: 'https://evil.example' }, 403, 'forbidden'],
    ['PATCH', `${DATASETS}/a.csv`, {}, 405, 'method_not_allowed'],
    ['GET', '/store/objects/x?expires=1&signature=x', {}, 403, 'forbidden'],
    ['GET', '/healthz', { Expect: '200-ok' }, 417, 'invalid_request'],
    ['POST', '/datasets/request-sync', { Expect: '200-ok' }, 417, 'invalid_request'],
  ])('%s %s with %j', async (method, path, headers, status, code) => {
    await using router = await startRouter();
    const answer = await call(router.url, method, path, headers);
    expect([answer.status, answer.headers['content-type']]).toEqual([status, 'application/problem+json']);
    const id = answer.headers['relay-request-id'];
    expect(id).toMatch(ID);
    expect(answer.json()).toMatchObject({ code, status, request_id: id });
  });

  test.each([
    ['an unknown method', 'FOO / HTTP/1.1\r\nHost: localhost\r\n\r\n', '400 Bad Request'],
    ['no host', 'GET /healthz HTTP/1.1\r\n\r\n', '400 Bad Request'],
    ['two lengths', 'GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n', '400 Bad Request'],
    ['no HTTP', 'hello\r\n\r\n', '400 Bad Request'],
    ['a tunnel', 'CONNECT localhost:1 HTTP/1.1\r\nHost: localhost:1\r\n\r\n', '400 Bad Request'],
    [
      'a long head',
      `GET / HTTP/1.1\r\nHost: localhost\r\nX: ${'x'.repeat(40_000)}\r\n\r\n`,
      '431 Request Header Fields Too Large',
    ],
  ])('to %s', async (_, request, status) => {
    await using router = await startRouter();
    const answer = readAnswer((await speak(router.url, request)).text);
    expect(answer.status).toBe(`HTTP/1.1 ${status}`);
    expect(answer.id).toMatch(ID);
    expect(answer.problem).toMatchObject({
      code: 'invalid_request',
      status: Number(status.slice(0, 3)),
      request_id: answer.id,
    });
  });

  test('to a head that does not come to its end', async () => {
    await using router = await startRouter({ limits: { ...LIMITS, headersTimeoutMs: 100 } });
    const answer = readAnswer((await speak(router.url, 'GET / HTTP/1.1\r\n')).text);
    expect(answer).toMatchObject({
      status: 'HTTP/1.1 408 Request Timeout',
      problem: { code: 'request_timeout', status: 408, request_id: answer.id },
    });
  });

  test('also where all is well', async () => {
    await using router = await startRouter();
    for (const path of ['/healthz', '/metrics', '/connectors', '/openapi.json'])
      expect((await call(router.url, 'GET', path)).headers['relay-request-id']).toMatch(ID);
    expect((await call(router.url, 'OPTIONS', '/connectors')).headers['relay-request-id']).toMatch(ID);
  });
});

test('what is wrong after a request writes nothing into the answer that runs', async () => {
  await using router = await startRouter();
  await using node = await PlainConnector.connect(router.url);
  const { hostname, port } = new URL(router.url);
  const socket = net.connect(Number(port), hostname).setEncoding('utf8');
  socket.on('error', () => {});
  socket.write(`GET ${DATASETS}/a.csv HTTP/1.1\r\nHost: localhost\r\n\r\n`);
  const { request_id } = await node.next();
  await node.post('/datasets/stream/init', { request_id, total_size: 300 });
  await node.post('/datasets/stream/chunk', { request_id, data: 'x'.repeat(10) });
  let seen = '';
  socket.on('data', (text) => {
    seen += text as unknown as string;
  });
  while (!seen.endsWith('x')) await once(socket, 'data');
  socket.write('FOO / HTTP/1.1\r\n\r\n');
  // It is reset.
  await new Promise((resolve) => socket.once('close', resolve));
  expect(seen).toMatch(/\r\n\r\nx+$/);
});

test('an answer to a connector has the id of the request that it answers, or none', async () => {
  await using router = await startRouter();
  await using node = await PlainConnector.connect(router.url);
  const app = ask(router.url, '/datasets/request-sync');
  const { request_id } = await node.next();
  const reply = await call(router.url, 'POST', '/datasets/result');
  expect([reply.status, reply.headers['relay-request-id']]).toEqual([400, undefined]);
  const bad = await node.post('/datasets/stream/complete', { request_id });
  expect(bad).toMatchObject({ status: 400, body: { request_id } });
  await node.post('/datasets/result', { request_id, data: '' });
  expect((await app.answer).headers['relay-request-id']).toBe(request_id);
});
