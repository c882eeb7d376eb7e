import { describe, expect, test } from '@jest/globals';
import { once } from 'node:events';
import { join } from 'node:path';
import { WebSocket } from 'ws';
import { ask, call } from '../../support/plain-app.ts';
import { MAC, PlainConnector } from '../../support/plain-connector.ts';
import { makeTempDir, startRouter } from '../../support/router.ts';

const SYNC = '/datasets/request-sync';
const OTHER = 'cc-28-aa-01-02-04';

describe('a router that was restarted', () => {
  test('lists who was there before, with what they said of themselves', async () => {
    await using directory = await makeTempDir();
    const stateDir = join(directory.path, 'state');
    const first = await startRouter({ stateDir });
    const socket = new WebSocket(`${first.url.replace('http', 'ws')}/connectors/${MAC}/socket`, 'relay.v1', {
      headers: { 'Relay-Name': 'gr%C3%B6%C3%9Fe', 'Relay-Labels': 'site=north%2C1,line=2', 'Relay-Version': '0.9' },
    });
    await once(socket, 'open');
    const online = (await call(first.url, 'GET', `/connectors/${MAC}`)).json();
    await first[Symbol.asyncDispose]();
    await using second = await startRouter({ stateDir });
    const info = (await call(second.url, 'GET', `/connectors/${MAC}`)).json();
    const { last_seen: lastSeen, ...rest } = info;
    expect(rest).toEqual({
      mac: MAC,
      state: 'offline',
      link: null,
      version: '0.9',
      name: 'größe',
      labels: { site: 'north,1', line: '2' },
    });
    expect(Date.parse(String(lastSeen))).toBeGreaterThanOrEqual(Date.parse(String(online['last_seen'])));
    expect((await call(second.url, 'GET', '/connectors')).json()).toEqual({ connectors: [info] });
    const unknown = (await call(second.url, 'GET', `/connectors/${OTHER}`)).json();
    expect(unknown).toMatchObject({ code: 'connector_not_found' });
  });

  test('waits for a connector that it sent away itself, and for no other', async () => {
    await using directory = await makeTempDir();
    const stateDir = join(directory.path, 'state');
    const first = await startRouter({ stateDir });
    const leaver = await PlainConnector.connect(first.url, { mac: OTHER });
    await leaver[Symbol.asyncDispose]();
    await using _stays = await PlainConnector.connect(first.url);
    await first.router.drain();
    await first[Symbol.asyncDispose]();
    await using second = await startRouter({ stateDir, reconnectWaitMs: 20_000 });
    const waiting = ask(second.url, SYNC);
    await using back = await PlainConnector.connect(second.url);
    await back.post('/datasets/result', { request_id: (await back.next()).request_id, data: 'x' });
    expect((await waiting.answer).json()).toMatchObject({ data: 'x' });
    await second[Symbol.asyncDispose]();
    await using third = await startRouter({ stateDir, reconnectWaitMs: 1 });
    const refused = await ask(third.url, SYNC, { mac: OTHER, dataset: 'a' }).answer;
    expect(refused.json()).toMatchObject({ code: 'connector_offline', last_seen: expect.any(String), retryable: true });
  });

  test('does not share its state directory with one that still runs', async () => {
    await using first = await startRouter();
    await expect(startRouter({ stateDir: first.stateDir })).rejects.toMatchObject({ code: 'usage' });
  });
});
