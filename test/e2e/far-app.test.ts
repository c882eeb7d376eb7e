import { once } from 'node:events';
import { randomBytes } from 'node:crypto';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { FarLine } from '../support/far-line.ts';
import { FaultyLine } from '../support/faulty-line.ts';
import { runRelay, startConnectorProcess, startRelay, startRouterProcess } from '../support/processes.ts';
import { makeTempDir } from '../support/router.ts';

const NODE = 'cc-28-aa-01-02-03';
const MIB = 1024 * 1024;

/** A proxy that requests for plain HTTP are handed to whole. */
async function startProxy(): Promise<AsyncDisposable & { url: string; port: number }> {
  const server = createServer((incoming, outgoing) => {
    const { method, headers, url = '' } = incoming;
    const onward = request(url, { method, headers, agent: false }, (response) => {
      outgoing.writeHead(response.statusCode ?? 0, response.headers);
      response.pipe(outgoing);
      response.on('error', () => outgoing.destroy());
    });
    onward.on('error', () => outgoing.destroy());
    outgoing.on('close', () => onward.destroy());
    incoming.pipe(onward);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    port,
    url: `http://127.0.0.1:${port}`,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

/**
 * A router with its node, and an app far from both. The connection to a line on this machine is open at once, however long its
 * bytes take; so a proxy stands behind it, which keeps the app from taking that for the round trip.
 */
async function makeSite(delayMs: number) {
  const resources = new AsyncDisposableStack();
  const data = resources.use(await makeTempDir()).path;
  const out = resources.use(await makeTempDir()).path;
  const bytes = randomBytes(24 * MIB + 12_345);
  await writeFile(join(data, 'big.bin'), bytes);
  const router = resources.use(await startRouterProcess());
  resources.use(await startConnectorProcess(router.url, NODE, data));
  const proxy = resources.use(await startProxy());
  const faulty = resources.use(await FaultyLine.to(proxy.port));
  const line = resources.use(await FarLine.to(faulty.url, delayMs));
  const args = ['app', 'request-stream', '--router', router.url, '--proxy', line.url, '--verify', NODE, 'big.bin'];
  const target = join(out, 'big.bin');
  return {
    bytes,
    out,
    router,
    faulty,
    line,
    args,
    target,
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  };
}

test('from far away a stream comes by several connections, in order and verified', async () => {
  await using site = await makeSite(25);
  site.faulty.bytesPerSecond = 10_000_000;
  const { code, stdout, stderr } = await runRelay(site.args);
  expect([code, stderr]).toEqual([0, '']);
  expect(stdout.equals(site.bytes)).toBe(true);
  expect(site.line.mostFetching).toBeGreaterThan(2);
});

test.each(['request-stream', 'request'])('from far away %s takes one where more are not wanted', async (command) => {
  await using site = await makeSite(25);
  const args = site.args.map((word) => (word === 'request-stream' ? command : word));
  const { code, stdout, stderr } = await runRelay([...args, '--max-parallel', '1']);
  expect([code, stderr]).toEqual([0, '']);
  expect(stdout.equals(site.bytes)).toBe(true);
  expect(site.line.mostFetching).toBe(1);
});

test('from far away a pattern takes one for each dataset where more are not wanted', async () => {
  await using site = await makeSite(25);
  const [, , ...rest] = site.args;
  const args = ['app', 'request', ...rest.slice(0, -1), '*.bin', '-o', site.out, '--max-parallel', '1'];
  const { code, stderr } = await runRelay(args);
  expect([code, stderr]).toEqual([0, expect.stringMatching(/^relay: 1 fetched/)]);
  expect((await readFile(site.target)).equals(site.bytes)).toBe(true);
  expect(site.line.mostFetching).toBe(1);
});

test('from nearby it comes by one request', async () => {
  await using site = await makeSite(0);
  const args = ['app', 'request-stream', '--router', site.router.url, '--verify', NODE, 'big.bin'];
  const { code, stdout } = await runRelay(args);
  expect(code).toBe(0);
  expect(stdout.equals(site.bytes)).toBe(true);
  const ended = site.router.log.filter(({ pattern }) => pattern !== undefined);
  // On a busy machine the way may look long for a moment: a part is asked for, and let go of as soon as it does not.
  const [whole, ...others] = ended.toSorted((a, b) => Number(b['bytes']) - Number(a['bytes']));
  expect(whole).toMatchObject({ pattern: 'stream', code: 'ok', bytes: site.bytes.length });
  expect(others.filter((other) => other['code'] !== 'cancelled')).toEqual([]);
  expect(others.length).toBeLessThanOrEqual(1);
});

test('one of the connections may be cut, and another swallow what it carries', async () => {
  await using site = await makeSite(25);
  site.faulty.bytesPerSecond = 10_000_000;
  for (const kind of ['rst', 'black-hole'] as const) {
    site.faulty.arm({ kind, traffic: 'data', direction: 'down', afterBytes: 12 * MIB, outageMs: 0 });
    const { code, stdout } = await runRelay([...site.args, '--stall-timeout', '2s']);
    expect([code, site.faulty.hasStruck]).toEqual([0, true]);
    expect(stdout.equals(site.bytes)).toBe(true);
  }
});

test('an app that is killed goes on with the parts in its file when it is run again', async () => {
  await using site = await makeSite(25);
  site.faulty.bytesPerSecond = 2_000_000;
  const args = [...site.args, '-o', site.target];
  const first = startRelay(args);
  await site.faulty.whenPassed('data', 'down', 14 * MIB, AbortSignal.timeout(30_000));
  first.child.kill('SIGKILL');
  await first.result;
  expect(await readdir(site.out)).not.toContain('big.bin');
  site.faulty.bytesPerSecond = Number.POSITIVE_INFINITY;
  const { code, stderr } = await startRelay(args).result;
  expect([code, stderr]).toEqual([
    0,
    expect.stringMatching(/going on with the partial file: .* of 24.0 MiB are there/),
  ]);
  expect((await readFile(site.target)).equals(site.bytes)).toBe(true);
  expect(await readdir(site.out)).toEqual(['big.bin']);
});
