import { readFile } from 'node:fs/promises';
import https from 'node:https';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { makeCertificate } from '../../support/certificates.ts';
import { Crowd } from '../../support/crowd.ts';
import { readMetric, untilMetric } from '../../support/metrics.ts';
import { Neighbour } from '../../support/neighbour.ts';
import { call, speak } from '../../support/plain-app.ts';
import { LIMITS, makeTempDir, startRouter } from '../../support/router.ts';

const refused = (reason: string): string => `relay_refused_total{reason="${reason}"}`;
const HEAD = 'POST /datasets/request-sync HTTP/1.1\r\nHost: localhost\r\n';

describe('connections', () => {
  test('from one address have a limit; some beyond it are told so, the rest are reset', async () => {
    await using router = await startRouter({ limits: { ...LIMITS, maxConnectionsPerAddress: 20 } });
    await using neighbour = await Neighbour.start(router.url);
    await using crowd = new Crowd(router.url);
    await crowd.join(20);
    await using talkers = new Crowd(router.url);
    await talkers.join(50, 'GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n');
    await talkers.ended();
    for (const text of talkers.texts) {
      expect(text).toMatch(/^HTTP\/1\.1 429 [^]*Retry-After: 10\r\n[^]*Connection: close\r\n[^]*"too_many_requests"/);
    }
    // Of those that do not even ask, as many are listened to for a moment.
    await using silent = new Crowd(router.url);
    await silent.join(150);
    await silent.ended();
    expect(silent.resets).toBe(50);
    expect(await readMetric(router.url, refused('connections_per_address'))).toBe(200);
    await neighbour.served(3);
    await crowd[Symbol.asyncDispose]();
    await neighbour[Symbol.asyncDispose]();
    // The one that asks is the only one left.
    await untilMetric(router.url, 'relay_connections', 1);
    await using again = new Crowd(router.url);
    await again.join(20, 'GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n');
    await again.ended();
    for (const text of again.texts) expect(text).toMatch(/^HTTP\/1\.1 200 /);
  });

  test('that are idle are kept for longer than load balancers in front keep them', async () => {
    await using router = await startRouter();
    const { text } = await speak(
      router.url,
      'GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nGET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n',
    );
    const [, seconds] = /^Keep-Alive: timeout=(\d+)\r$/m.exec(text) ?? [];
    // Those of Google do for 600 s, which cannot be set.
    expect(Number(seconds)).toBeGreaterThan(600);
  });

  test('all together have a limit, and links that stand are not touched', async () => {
    await using router = await startRouter({ limits: { ...LIMITS, maxConnections: 10 } });
    await using neighbour = await Neighbour.start(router.url);
    await neighbour.served(1);
    await neighbour[Symbol.asyncDispose]();
    await using crowd = new Crowd(router.url);
    await crowd.join(10);
    const got = await call(router.url, 'GET', '/healthz');
    expect([got.status, got.headers['retry-after'], got.json()['code']]).toEqual([503, '10', 'overloaded']);
    // An upgrade is told in the same words.
    const upgrade =
      'GET /connectors/cc28aa010203/socket HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n';
    expect((await speak(router.url, upgrade)).text).toMatch(/^HTTP\/1\.1 503 [^]*Retry-After: 10\r\n[^]*"overloaded"/);
    await crowd[Symbol.asyncDispose]();
    while ((await call(router.url, 'GET', '/healthz')).status !== 200);
    expect(await readMetric(router.url, refused('connections'))).toBeGreaterThan(1);
  });
});

describe('a peer that keeps the router waiting', () => {
  test.each([
    ['for anything at all', ''],
    ['for the rest of a head', HEAD],
    ['for the rest of a second head', `GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n${HEAD}`],
  ])('%s is sent away', async (_, text) => {
    await using router = await startRouter({ limits: { ...LIMITS, headersTimeoutMs: 300 } });
    await using neighbour = await Neighbour.start(router.url);
    await using crowd = new Crowd(router.url);
    await crowd.join(50, text);
    await crowd.ended();
    for (const each of crowd.texts) expect(each).toMatch(/HTTP\/1\.1 408 Request Timeout\r\nConnection: close\r\n/);
    expect(await readMetric(router.url, refused('headers_timeout'))).toBe(50);
    await neighbour.served(2);
    await neighbour[Symbol.asyncDispose]();
    // Also of those that never end their own side nothing is left.
    await untilMetric(router.url, 'relay_connections', 1);
  });

  test('for the rest of a JSON body is told so and sent away', async () => {
    await using router = await startRouter({ limits: { ...LIMITS, bodyTimeoutMs: 300 } });
    await using neighbour = await Neighbour.start(router.url);
    await using crowd = new Crowd(router.url);
    await crowd.join(50, `${HEAD}Content-Length: 1000\r\n\r\n{"mac":`);
    // What comes does not come fast enough.
    const trickle = setInterval(() => crowd.say('x'), 50);
    await crowd.ended();
    clearInterval(trickle);
    for (const each of crowd.texts) expect(each).toMatch(/^HTTP\/1\.1 504 [^]*"request_timeout"/);
    expect(await readMetric(router.url, refused('body_timeout'))).toBe(50);
    await neighbour.served(2);
    await neighbour[Symbol.asyncDispose]();
    await untilMetric(router.url, 'relay_connections', 1);
    expect(await readMetric(router.url, 'relay_held_requests{side="app"}')).toBe(0);
  });

  test('for the rest of a body that nobody wants loses its connection', async () => {
    await using router = await startRouter({ limits: { ...LIMITS, bodyTimeoutMs: 300 } });
    await using crowd = new Crowd(router.url);
    await crowd.join(5, 'GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nx');
    const trickle = setInterval(() => crowd.say('x'), 50);
    await crowd.ended();
    clearInterval(trickle);
    for (const each of crowd.texts) expect(each).toMatch(/^HTTP\/1\.1 200 /);
    await untilMetric(router.url, 'relay_connections', 1);
  });

  test('after an upgrade that was refused loses its connection', async () => {
    await using router = await startRouter();
    await using crowd = new Crowd(router.url);
    await crowd.join(
      5,
      'GET /connectors/x/socket HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n',
    );
    await crowd.ended();
    for (const each of crowd.texts) expect(each).toMatch(/^HTTP\/1\.1 400 /);
    await untilMetric(router.url, 'relay_connections', 1);
  });

  test('for the rest of a TLS handshake is sent away', async () => {
    await using directory = await makeTempDir();
    const files = { key: join(directory.path, 'key.pem'), cert: join(directory.path, 'cert.pem') };
    await makeCertificate(files);
    const certificate = { cert: await readFile(files.cert, 'utf8'), key: await readFile(files.key, 'utf8') };
    await using router = await startRouter({
      tls: () => certificate,
      limits: { ...LIMITS, handshakeTimeoutMs: 300, headersTimeoutMs: 300 },
    });
    const get = (path: string): Promise<string> =>
      new Promise((resolve, reject) => {
        const request = https.get(`${router.url}${path}`, { ca: certificate.cert, agent: false }, (response) => {
          response.setEncoding('utf8');
          let text = '';
          response.on('data', (piece: string) => (text += piece));
          response.on('end', () => resolve(text));
        });
        request.on('error', reject);
      });
    await using crowd = new Crowd(router.url);
    await crowd.join(25);
    // The beginning of a record that says hello, and the first of its bytes.
    await crowd.join(25, '\x16\x03\x01\x02\x00\x01');
    // What speaks no TLS at all cannot be told either.
    await crowd.join(5, HEAD);
    expect(await get('/healthz')).toBe('{"status":"ok"}');
    await crowd.ended();
    for (;;) {
      const metrics = await get('/metrics');
      if (/^relay_connections 1$/m.test(metrics)) {
        expect(metrics).toContain(`${refused('handshake_timeout')} 50\n`);
        break;
      }
    }
  });
});

test('a head that is too large, or has too many fields, is refused', async () => {
  await using router = await startRouter({ limits: { ...LIMITS, maxHeaderBytes: 8192 } });
  const request = (fields: string): Promise<{ text: string }> =>
    speak(router.url, `GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n${fields}\r\n`);
  expect((await request(`X: ${'x'.repeat(7000)}\r\n`)).text).toMatch(/^HTTP\/1\.1 200 /);
  expect((await request(`X: ${'x'.repeat(9000)}\r\n`)).text).toMatch(/^HTTP\/1\.1 431 /);
  expect((await request('A: b\r\n'.repeat(98))).text).toMatch(/^HTTP\/1\.1 200 /);
  expect((await request('A: b\r\n'.repeat(99))).text).toMatch(/^HTTP\/1\.1 400 [^]*100 header fields/);
  expect(await readMetric(router.url, refused('header_size'))).toBe(2);
});
