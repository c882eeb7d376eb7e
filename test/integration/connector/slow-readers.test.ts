import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { expect, test } from '@jest/globals';
import { startOwnConnector } from '../../support/own-connector.ts';
import { call } from '../../support/plain-app.ts';
import { MAC } from '../../support/plain-connector.ts';
import { startRouter } from '../../support/router.ts';

const READERS = 120;

/** Asks for a dataset, and reads no further than its beginning. */
async function stall(url: string, path: string): Promise<Socket> {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  socket.write(`GET ${path} HTTP/1.1\r\nHost: ${hostname}:${port}\r\n\r\n`);
  const [beginning] = (await once(socket, 'data')) as [Buffer];
  socket.pause();
  expect(beginning.toString('latin1')).toMatch(/^HTTP\/1\.1 200 /);
  return socket;
}

test('apps that read nothing keep no other of the same connector waiting', async () => {
  await using router = await startRouter();
  const bytes = randomBytes(16_000_000);
  await using _ = await startOwnConnector(router.url, bytes);
  const path = `/connectors/${MAC}/datasets/a.csv`;
  const stalled = await Promise.all(Array.from({ length: READERS }, () => stall(router.url, path)));
  try {
    const part = await call(router.url, 'GET', path, { Range: 'bytes=1000-1999' });
    expect(part.bytes.equals(bytes.subarray(1000, 2000))).toBe(true);
    expect((await call(router.url, 'GET', path)).bytes.equals(bytes)).toBe(true);
  } finally {
    for (const socket of stalled) socket.destroy();
  }
}, 60_000);
