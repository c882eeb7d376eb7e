import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import http, { type IncomingMessage } from 'node:http';
import { expect, test } from '@jest/globals';
import type { Mac } from '../../../src/protocol/mac.ts';
import { signToken } from '../../../src/router/access/token.ts';
import { FaultyLine } from '../../support/faulty-line.ts';
import { startOwnConnector } from '../../support/own-connector.ts';
import { ask, call } from '../../support/plain-app.ts';
import { MAC } from '../../support/plain-connector.ts';
import { LIMITS, startRouter } from '../../support/router.ts';

const STREAM = '/datasets/request-stream';
const SYNC = '/datasets/request-sync';
const DATASET = `/connectors/${MAC}/datasets/a.csv`;
const OCTETS = { Accept: 'application/octet-stream' };

/** How much may go at once, and how much one piece is, in parts of what goes in a second. */
const AT_ONCE = 0.15;

const limits = (maxBytesPerSecond: number) => ({ limits: { ...LIMITS, maxBytesPerSecond } });

/** A URL of the dataset in the router's store. */
async function offload(url: string): Promise<URL> {
  const { json } = await ask(url, '/datasets/request-offload').answer;
  return new URL(String(json()['download_url']));
}

/** A download that counts what has come of it. */
async function download(url: URL, headers: http.OutgoingHttpHeaders = {}) {
  const request = http.get(url, { agent: false, headers });
  request.on('error', () => {});
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  const got = { bytes: 0, ended: Promise.resolve(), cut: () => void request.destroy() };
  response.on('data', (piece: Buffer) => {
    got.bytes += piece.length;
  });
  response.on('error', () => {});
  got.ended = new Promise<void>((resolve) => response.once('close', () => resolve()));
  return got;
}

test('one rate for all that a client is sent: in all patterns, in parts, and from the store', async () => {
  const rate = 2_000_000;
  await using router = await startRouter(limits(rate));
  const bytes = randomBytes(400_000);
  await using _ = await startOwnConnector(router.url, bytes);
  const stored = await offload(router.url);
  const begun = performance.now();
  const [streamed, whole, inJson, part, object] = await Promise.all([
    ask(router.url, STREAM).answer,
    ask(router.url, SYNC, undefined, OCTETS).answer,
    ask(router.url, SYNC).answer,
    call(router.url, 'GET', DATASET, { Range: 'bytes=0-199999' }),
    call(stored.origin, 'GET', stored.pathname + stored.search),
  ]);
  const elapsedMs = performance.now() - begun;
  for (const answer of [streamed, whole, object]) expect(answer.bytes.equals(bytes)).toBe(true);
  expect(Buffer.from(String(inJson.json()['data']), 'base64').equals(bytes)).toBe(true);
  expect(inJson.headers['content-length']).toBe(String(inJson.bytes.length));
  expect(part.bytes.equals(bytes.subarray(0, 200_000))).toBe(true);
  const sent = [streamed, whole, inJson, part, object].reduce((sum, answer) => sum + answer.bytes.length, 0);
  expect(elapsedMs).toBeGreaterThan((sent / rate - AT_ONCE) * 1000);
});

test('many small ones after each other keep to it as well', async () => {
  const rate = 20_000;
  await using router = await startRouter(limits(rate));
  await using _ = await startOwnConnector(router.url, randomBytes(2000));
  const begun = performance.now();
  for (let count = 0; count < 8; count++) await ask(router.url, STREAM).answer;
  expect(performance.now() - begun).toBeGreaterThan(((7 * 2000) / rate - AT_ONCE) * 1000);
});

test('the transfers of a client share it evenly', async () => {
  await using router = await startRouter(limits(1_500_000));
  await using _ = await startOwnConnector(router.url, randomBytes(1_000_000));
  const stored = await offload(router.url);
  const dataset = new URL(`${router.url}${DATASET}`);
  const all = await Promise.all([download(dataset), download(dataset), download(stored)]);
  await Promise.race(all.map(({ ended }) => ended));
  for (const { bytes } of all) expect(bytes).toBeGreaterThan(600_000);
  await Promise.all(all.map(({ ended }) => ended));
  expect(all.map(({ bytes }) => bytes)).toEqual([1_000_000, 1_000_000, 1_000_000]);
});

test('a client that has all of its rate in use takes nothing from another', async () => {
  const secret = 'a secret of more than thirty-two characters';
  const sign = () => signToken({ role: 'app', macs: ['*'], datasets: ['**'] }, secret);
  await using router = await startRouter({ ...limits(200_000), secrets: () => [secret] });
  const token = await signToken({ role: 'connector', macs: [MAC as Mac] }, secret);
  await using _ = await startOwnConnector(router.url, randomBytes(20_000_000), { token: () => token });
  const dataset = new URL(`${router.url}${DATASET}`);
  const greedy = { Authorization: `Bearer ${await sign()}` };
  const held = await Promise.all(Array.from({ length: 6 }, () => download(dataset, greedy)));
  const other = await call(router.url, 'GET', DATASET, {
    Authorization: `Bearer ${await sign()}`,
    Range: 'bytes=0-149999',
  });
  expect(other.bytes).toHaveLength(150_000);
  // Had they shared one rate, it would have got a seventh.
  expect(held.reduce((sum, { bytes }) => sum + bytes, 0)).toBeLessThan(600_000);
  for (const each of held) each.cut();
});

test('it holds back the connector, whose silence that is not', async () => {
  await using router = await startRouter({ ...limits(150_000), silenceTimeoutMs: 150 });
  await using line = await FaultyLine.to(Number(new URL(router.url).port));
  const bytes = randomBytes(40_000_000);
  // On a busy machine the way looks long, and a window of 32 MiB would come ahead over several connections.
  await using _ = await startOwnConnector(line.url, bytes, { maxParallel: 1 });
  const { received, request } = ask(router.url, STREAM);
  await received(200_000);
  // What the buffers of kernels hold.
  expect(line.passed('data', 'up')).toBeLessThan(20_000_000);
  request.destroy();
  const part = await call(router.url, 'GET', DATASET, { Range: 'bytes=0-199999' });
  expect(part.bytes.equals(bytes.subarray(0, 200_000))).toBe(true);
});
