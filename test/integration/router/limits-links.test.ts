import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { describe, expect, test } from '@jest/globals';
import { WebSocket } from 'ws';
import { Crowd } from '../../support/crowd.ts';
import { readMetric, untilMetric } from '../../support/metrics.ts';
import { Neighbour } from '../../support/neighbour.ts';
import { ask, call } from '../../support/plain-app.ts';
import { MAC, PlainConnector } from '../../support/plain-connector.ts';
import { startRouter } from '../../support/router.ts';

const STREAM = '/datasets/request-stream';
const refused = (reason: string): string => `relay_refused_total{reason="${reason}"}`;
const stateOf = async (url: string): Promise<unknown> => (await call(url, 'GET', `/connectors/${MAC}`)).json()['state'];

const OPENINGS = {
  websocket:
    `GET /connectors/${MAC}/socket HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
    'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: relay.v1\r\n\r\n',
  sse: `GET /connectors/${MAC}/events HTTP/1.1\r\nHost: localhost\r\n\r\n`,
};

/** A masked frame of a client (RFC 6455 §5.2), of at most 125 bytes. */
function frame(opcode: number, payload: string): Buffer {
  // A mask of zeros leaves the payload as it is.
  return Buffer.from([0x80 | opcode, 0x80 | payload.length, 0, 0, 0, 0, ...Buffer.from(payload)]);
}

describe.each(['websocket', 'sse'] as const)('a peer on %s', (kind) => {
  test('that never reads loses its link before much waits for it, and the neighbours notice nothing', async () => {
    await using router = await startRouter();
    await using neighbour = await Neighbour.start(router.url);
    await using crowd = new Crowd(router.url);
    await crowd.join(1, OPENINGS[kind]);
    while ((await stateOf(router.url)) !== 'online');
    crowd.stopReading();
    // The longest names there are make the largest commands.
    const dataset = Array.from({ length: 20 }, () => 'x'.repeat(200)).join('/');
    let rounds = 0;
    while ((await stateOf(router.url)) === 'online') {
      const asked = Array.from({ length: 200 }, () => ask(router.url, STREAM, { mac: MAC, dataset }));
      await untilAtLeast(router.url, 'relay_pending_exchanges', 100);
      for (const { request } of asked) request.destroy();
      await neighbour.served(1);
      // Its kernel and ours take some MiB, and the router no more than four.
      expect(++rounds).toBeLessThan(60);
    }
    expect(await readMetric(router.url, refused('link_unread'))).toBe(1);
    await neighbour.served(2);
    await crowd[Symbol.asyncDispose]();
    await neighbour[Symbol.asyncDispose]();
    await untilMetric(router.url, 'relay_pending_exchanges', 0);
    await untilMetric(router.url, 'relay_held_requests{side="app"}', 0);
  }, 120_000);

  test('that opens its link again and again has to wait', async () => {
    await using router = await startRouter();
    await using neighbour = await Neighbour.start(router.url);
    await using crowd = new Crowd(router.url);
    // Two more come back each second meanwhile.
    await crowd.join(300, OPENINGS[kind]);
    await untilMetric(router.url, refused('links_per_connector'), (count) => count > 50);
    await neighbour.served(2);
    const told = crowd.texts.filter((text) => text.startsWith('HTTP/1.1 429'));
    expect(told.length).toBeGreaterThan(0);
    for (const text of told) expect(text).toMatch(/Retry-After: 10\r\n[^]*"too_many_requests"/);
  });
});

describe('a WebSocket peer', () => {
  test.each([
    ['pings', frame(9, 'x'.repeat(125))],
    ['pongs', frame(10, '')],
    ['messages', frame(1, '{"event":"what"}')],
  ])('that floods its link with %s loses it', async (_, flood) => {
    await using router = await startRouter();
    await using neighbour = await Neighbour.start(router.url);
    await using crowd = new Crowd(router.url);
    await crowd.join(1, OPENINGS.websocket);
    while ((await stateOf(router.url)) !== 'online');
    crowd.stopReading();
    const many = Buffer.concat(Array.from({ length: 1000 }, () => flood)).toString('latin1');
    crowd.say(many);
    while ((await stateOf(router.url)) === 'online') await neighbour.served(1);
    expect(await readMetric(router.url, refused('link_flood'))).toBe(1);
    await neighbour.served(2);
  });

  test('that sends what heartbeats need keeps it', async () => {
    await using router = await startRouter();
    await using node = await PlainConnector.connect(router.url);
    for (let count = 0; count < 100; count++) {
      node.socket.ping();
      await once(node.socket, 'pong');
    }
    expect(await stateOf(router.url)).toBe('online');
  });

  test('that sends a message larger than any is told so and loses its link', async () => {
    await using router = await startRouter();
    await using neighbour = await Neighbour.start(router.url);
    await using node = await PlainConnector.connect(router.url);
    const closed = once(node.socket, 'close');
    node.socket.send('x'.repeat(70_000));
    expect((await closed)[0]).toBe(1009);
    await neighbour.served(1);
  });

  test('that sends a message in very many pieces loses its link', async () => {
    await using router = await startRouter();
    await using node = await PlainConnector.connect(router.url);
    const closed = once(node.socket, 'close');
    for (let count = 0; count < 200; count++) node.socket.send('x', { fin: false });
    expect((await closed)[0]).not.toBe(1000);
  });

  test('that is sent away for its attempts is told how long', async () => {
    await using router = await startRouter();
    await using crowd = new Crowd(router.url);
    await crowd.join(300, OPENINGS.sse);
    await untilMetric(router.url, refused('links_per_connector'), (count) => count > 0);
    const socket = new WebSocket(`${router.url.replace('http', 'ws')}/connectors/${MAC}/socket`, 'relay.v1');
    const [, response] = (await once(socket, 'unexpected-response')) as [unknown, IncomingMessage];
    expect([response.statusCode, response.headers['retry-after']]).toEqual([429, '10']);
    socket.on('error', () => {});
    socket.terminate();
  });
});

async function untilAtLeast(url: string, name: string, wanted: number): Promise<void> {
  while ((await readMetric(url, name)) < wanted) {
    if ((await stateOf(url)) !== 'online') return;
  }
}
