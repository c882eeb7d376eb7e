import { createHash, randomBytes } from 'node:crypto';
import { expect, test } from '@jest/globals';
import { FaultyLine } from '../../support/faulty-line.ts';
import { ask } from '../../support/plain-app.ts';
import { startRouter } from '../../support/router.ts';
import { RunningConnector } from '../../unit/connector/support-connector.ts';
import { Sandbox } from '../../unit/connector/support-dir.ts';

const CONTENT = randomBytes(6_000_000);
const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');
const WAYS = ['rst', 'fin', 'cut'] as const;

test.each(WAYS)('a connector goes on with a whole result whose connection broke off by %s', async (kind) => {
  await using sandbox = await Sandbox.create({ 'a.bin': CONTENT });
  await using router = await startRouter();
  await using line = await FaultyLine.to(Number(new URL(router.url).port));
  const options = { routerUrl: new URL(line.url), dataDir: sandbox.data, transport: 'websocket' } as const;
  await using _node = await RunningConnector.online(options);
  line.arm({ kind, traffic: 'data', direction: 'up', afterBytes: 2_000_000, outageMs: 0 });
  const body = { mac: 'cc-28-aa-01-02-03', dataset: 'a.bin' };
  const accept = { Accept: 'application/octet-stream' };
  const got = await ask(router.url, '/datasets/request-sync', body, accept).answer;
  expect([got.status, line.hasStruck]).toEqual([200, true]);
  expect(sha256(got.bytes)).toBe(sha256(CONTENT));
  // What was there already was not sent again.
  expect(line.passed('data', 'up')).toBeLessThan(CONTENT.length + 3_000_000);
});
