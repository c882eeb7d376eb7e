import { once } from 'node:events';
import { createHash, randomBytes } from 'node:crypto';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { describe, expect, test } from '@jest/globals';
import { FaultyLine } from '../support/faulty-line.ts';
import { grown } from '../support/grown.ts';
import { runRelay, startConnectorProcess, startRelay, startRouterProcess } from '../support/processes.ts';
import { makeTempDir } from '../support/router.ts';
import { SlowLine } from '../support/slow-line.ts';

const NODE = 'cc-28-aa-01-02-03';
const LINKS = ['websocket', 'sse'] as const;
const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');

async function makeSite(): Promise<AsyncDisposable & { data: string; out: string; bytes: Buffer }> {
  const data = await makeTempDir();
  const out = await makeTempDir();
  const bytes = randomBytes(6_000_000);
  await writeFile(join(data.path, 'big.bin'), bytes);
  return {
    data: data.path,
    out: out.path,
    bytes,
    [Symbol.asyncDispose]: async () => {
      await data[Symbol.asyncDispose]();
      await out[Symbol.asyncDispose]();
    },
  };
}

describe.each(LINKS)('over %s', (transport) => {
  test('a stream goes on where it was when its connector was killed and comes back', async () => {
    await using site = await makeSite();
    await using router = await startRouterProcess(['--silence-timeout', '2s']);
    await using line = await SlowLine.to(router.url);
    const first = await startConnectorProcess(line.url, NODE, site.data, ['--transport', transport]);
    await using _first = first;
    line.hold();
    const target = join(site.out, 'big.bin');
    const app = startRelay([
      'app',
      'request-stream',
      '--router',
      router.url,
      '--verify',
      '-o',
      target,
      NODE,
      'big.bin',
    ]);
    await line.stalled;
    await first.end('SIGKILL');
    await using second = await startConnectorProcess(router.url, NODE, site.data, ['--transport', transport]);
    const { code, stderr } = await app.result;
    expect([code, stderr]).toEqual([0, '']);
    expect(sha256(await readFile(target))).toBe(sha256(site.bytes));
    const resumed = await router.logged(({ msg }) => msg === 'the connector is asked to go on');
    expect(resumed['offset']).toBeGreaterThan(0);
    const done = await second.logged(({ msg, bytes }) => msg === 'done' && Number(bytes) > 0);
    expect(done['bytes']).toBeLessThan(site.bytes.length);
  });

  test('a stream goes on where it was when the router was killed and comes back', async () => {
    await using site = await makeSite();
    // The router that comes back knows its connectors.
    const state = ['--state-dir', join(site.out, '.state')];
    const first = await startRouterProcess(state);
    await using _first = first;
    const { port } = new URL(first.url);
    await using line = await SlowLine.to(first.url);
    const args = ['--transport', transport, '--reconnect-min', '20ms', '--reconnect-max', '200ms'];
    await using _connector = await startConnectorProcess(line.url, NODE, site.data, args);
    line.hold();
    const app = startRelay(['app', 'request-stream', '--router', first.url, '--verify', NODE, 'big.bin']);
    await once(app.child.stdout as Readable, 'readable');
    await line.stalled;
    await first.end('SIGKILL');
    line.release();
    await using router = await startRouterProcess([...state, '--port', port]);
    const { code, stdout, stderr } = await app.result;
    expect([code, stderr]).toEqual([0, expect.stringMatching(/broke off.*going on after/)]);
    expect(sha256(stdout)).toBe(sha256(site.bytes));
    expect(router.log.filter(({ msg }) => msg === 'request done')).toContainEqual(
      expect.objectContaining({ pattern: 'stream', code: 'ok' }),
    );
  });
});

test('a stream goes on where it was when nothing comes through between router and app any more', async () => {
  await using site = await makeSite();
  await using router = await startRouterProcess();
  await using line = await FaultyLine.to(Number(new URL(router.url).port));
  await using _connector = await startConnectorProcess(router.url, NODE, site.data);
  line.arm({ kind: 'black-hole', traffic: 'data', direction: 'down', afterBytes: 2_000_000, outageMs: 0 });
  const args = ['request-stream', '--router', line.url, '--verify', '--stall-timeout', '500ms', NODE, 'big.bin'];
  const { code, stdout, stderr } = await runRelay(['app', ...args]);
  expect([code, stderr]).toEqual([0, expect.stringMatching(/broke off.*going on after/)]);
  expect(sha256(stdout)).toBe(sha256(site.bytes));
});

test('an offload goes on where polls and the download are swallowed between router and app', async () => {
  await using site = await makeSite();
  await using router = await startRouterProcess();
  await using line = await FaultyLine.to(Number(new URL(router.url).port));
  await using _connector = await startConnectorProcess(router.url, NODE, site.data);
  const args = ['request-offload', '--router', line.url, '--verify', '--stall-timeout', '500ms', NODE, 'big.bin'];
  // The request, then a poll or the request to the store, then the middle of the object.
  for (const [direction, afterBytes] of [
    ['up', 600],
    ['down', 1_000_000],
  ] as const) {
    line.arm({ kind: 'black-hole', traffic: 'data', direction, afterBytes, outageMs: 0 });
    const { code, stdout, stderr } = await runRelay(['app', ...args]);
    expect([code, stderr, line.hasStruck]).toEqual([0, '', true]);
    expect(sha256(stdout)).toBe(sha256(site.bytes));
  }
});

test('a stream of a dataset that changed meanwhile fails, and leaves nothing', async () => {
  await using site = await makeSite();
  await using router = await startRouterProcess(['--silence-timeout', '2s']);
  await using line = await SlowLine.to(router.url);
  const first = await startConnectorProcess(line.url, NODE, site.data);
  await using _first = first;
  line.hold();
  const target = join(site.out, 'big.bin');
  const args = ['app', 'request-stream', '--router', router.url, '--retry', '0', '-o', target, NODE, 'big.bin'];
  const app = startRelay(args);
  await line.stalled;
  await first.end('SIGKILL');
  await writeFile(join(site.data, 'big.bin'), randomBytes(6_000_000));
  await using _second = await startConnectorProcess(router.url, NODE, site.data);
  const { code, stderr } = await app.result;
  expect([code, stderr]).toEqual([7, expect.stringMatching(/is no longer/)]);
  await expect(readFile(target)).rejects.toMatchObject({ code: 'ENOENT' });
});

test.each(['SIGKILL', 'SIGINT'] as const)(
  'an app that got %s goes on with its file when it is run again',
  async (signal) => {
    await using site = await makeSite();
    await using router = await startRouterProcess();
    await using line = await SlowLine.to(router.url);
    await using connector = await startConnectorProcess(line.url, NODE, site.data);
    // Less than a chunk, of 2 MiB: on a busy machine the connector takes the way for a long one, and sends several at once.
    line.hold(1_500_000);
    const target = join(site.out, 'big.bin');
    const args = ['app', 'request-stream', '--router', router.url, '--verify', '-o', target, NODE, 'big.bin'];
    const first = startRelay(args);
    await line.stalled;
    await grown(site.out, '.big.bin.relay-part', 1_000_000);
    first.child.kill(signal);
    const killed = await first.result;
    if (signal === 'SIGINT') {
      expect(killed).toMatchObject({
        code: 130,
        stderr: expect.stringMatching(/Run the same command again to go on: /),
      });
    }
    expect(await readdir(site.out)).not.toContain('big.bin');
    line.release();
    const { code, stderr } = await startRelay(args).result;
    expect([code, stderr]).toEqual([
      0,
      expect.stringMatching(/going on with the partial file: .* of 5.7 MiB are there/),
    ]);
    expect(sha256(await readFile(target))).toBe(sha256(site.bytes));
    expect(await readdir(site.out)).toEqual(['big.bin']);
    const done = connector.log.filter(({ msg, bytes }) => msg === 'done' && Number(bytes) > 0);
    expect(Number(done.at(-1)?.['bytes'])).toBeLessThan(site.bytes.length);
  },
);
