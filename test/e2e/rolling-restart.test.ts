import { expect, test } from '@jest/globals';
import { randomBytes } from 'node:crypto';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ask } from '../support/plain-app.ts';
import { PlainConnector } from '../support/plain-connector.ts';
import { RoleProcess, type RunResult, runRelay, startConnectorProcess } from '../support/processes.ts';
import { makeTempDir } from '../support/router.ts';

const NODES = [
  ['websocket', 'cc-28-aa-01-02-03'],
  ['sse', 'cc-28-aa-01-02-04'],
] as const;
const SLOW = 'cc-28-aa-01-02-05';
const PATTERNS = ['request-sync', 'request-stream', 'request-offload'];

/** `relay router` on a directory, and on a port that stays the same from one to the next. */
async function startRouter(directory: string, port: string): Promise<RoleProcess & { url: string }> {
  const state = ['--state-dir', join(directory, 'state'), '--port', port];
  const role = new RoleProcess(['router', ...state, '--grace', '10s', '--log-level', 'debug'], { cwd: directory });
  const { url } = await role.logged(
    (line) => typeof line['url'] === 'string' && line.msg?.includes('listening') === true,
  );
  return Object.assign(role, { url: String(url) });
}

test('a rolling restart under load loses no request that is made with --retry', async () => {
  await using directory = await makeTempDir();
  const content = randomBytes(2_000_000);
  const dataDir = await makeTempDir();
  await using _data = dataDir;
  await writeFile(join(dataDir.path, 'a.bin'), content);
  await using old = await startRouter(directory.path, '0');
  const { url } = old;
  await using nodes = new AsyncDisposableStack();
  for (const [transport, mac] of NODES) {
    nodes.use(await startConnectorProcess(url, mac, dataDir.path, ['--transport', transport]));
  }

  // Apps that ask one after the other, all the time, in all patterns of both nodes.
  const results: (RunResult & { what: string; isWhole: boolean; startedAt: number })[] = [];
  const enough = new AbortController();
  const out = await makeTempDir();
  await using _out = out;
  const served = NODES.map(() => Promise.withResolvers<void>());
  const work = NODES.map(async ([, mac], worker) => {
    for (let round = 0; !enough.signal.aborted; round++) {
      const pattern = PATTERNS[round % PATTERNS.length] as string;
      const target = join(out.path, `${worker}-${round}`);
      const startedAt = performance.now();
      const result = await runRelay([
        'app',
        pattern,
        '--router',
        url,
        '--retry',
        '3',
        '-o',
        target,
        '--',
        mac,
        'a.bin',
      ]);
      const isWhole = result.code === 0 && content.equals(await readFile(target));
      results.push({ ...result, what: `${pattern} of ${mac}`, isWhole, startedAt });
      served[worker]?.resolve();
    }
  });
  await Promise.all(served.map(({ promise }) => promise));

  // One transfer is under way when the router is told to go, so that it has to wait.
  await using slow = await PlainConnector.connect(url, { mac: SLOW });
  const running = ask(url, '/datasets/request-stream', { mac: SLOW, dataset: 'b' });
  const { request_id } = await slow.next();
  await slow.post('/datasets/stream/init', { request_id, total_size: 6 });
  await slow.post('/datasets/stream/chunk', { request_id, data: 'abc' });
  old.child.kill('SIGTERM');
  await old.logged(({ msg, code }) => msg === 'refused' && code === 'draining');
  expect((await fetch(`${url}/readyz`)).status).toBe(503);
  await slow.post('/datasets/stream/chunk', { request_id, data: 'def' });
  await slow.post('/datasets/stream/complete', { request_id, total_size: 6 });
  expect((await running.answer).bytes.toString()).toBe('abcdef');
  expect(await old.exited).toBe(0);

  await using fresh = await startRouter(directory.path, new URL(url).port);
  expect(fresh.url).toBe(url);
  const restartedAt = performance.now();
  // Who asks it first meets no connector yet, but one that is expected back.
  const first = await Promise.all(
    NODES.map(([, mac]) => runRelay(['app', 'stat', '--router', url, '--retry', '0', '--', mac, 'a.bin'])),
  );
  expect(first).toMatchObject(NODES.map(() => ({ code: 0 })));
  for (const [, mac] of NODES) await fresh.logged(({ msg, mac: of }) => msg === 'connector online' && of === mac);
  for (const [, mac] of NODES) await fresh.logged(({ msg, mac: of }) => msg === 'request done' && of === mac);
  enough.abort();
  await Promise.all(work);

  const lost = results.filter(({ isWhole }) => !isWhole).map(({ what, code, stderr }) => ({ what, code, stderr }));
  expect(lost).toEqual([]);
  // Some were turned away by the old one, waited, and were served by the new one.
  expect(results.filter(({ stderr }) => /going down.*trying again/.test(stderr)).length).toBeGreaterThan(0);
  expect(results.some(({ startedAt }) => startedAt < restartedAt)).toBe(true);
  expect((await readdir(out.path)).filter((name) => name.startsWith('.'))).toEqual([]);
}, 120_000);
