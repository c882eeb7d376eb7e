import { expect, test } from '@jest/globals';
import { randomBytes } from 'node:crypto';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
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

interface Result extends RunResult {
  readonly what: string;
  readonly isWhole: boolean;
  readonly startedAt: number;
}

/** Apps that ask one after the other, all the time, in all patterns of all nodes. */
async function startLoad(url: string): Promise<
  AsyncDisposable & {
    /** Resolves once every one of them was served. */
    readonly served: Promise<unknown>;
    /** Lets each come to its end. */
    readonly finish: () => Promise<Result[]>;
  }
> {
  const dirs = new AsyncDisposableStack();
  const [data, out] = [dirs.use(await makeTempDir()), dirs.use(await makeTempDir())];
  const content = randomBytes(2_000_000);
  await writeFile(join(data.path, 'a.bin'), content);
  for (const [transport, mac] of NODES) {
    dirs.use(await startConnectorProcess(url, mac, data.path, ['--transport', transport]));
  }
  const results: Result[] = [];
  const enough = new AbortController();
  const over = new AbortController();
  const served = NODES.map(() => Promise.withResolvers<void>());
  const work = NODES.map(async ([, mac], worker) => {
    for (let round = 0; !enough.signal.aborted; round++) {
      const pattern = PATTERNS[round % PATTERNS.length] as string;
      const target = join(out.path, `${worker}-${round}`);
      const startedAt = performance.now();
      const result = await runRelay(['app', pattern, '--router', url, '-o', target, '--', mac, 'a.bin'], {
        signal: over.signal,
      });
      const isWhole = result.code === 0 && content.equals(await readFile(target));
      results.push({ ...result, what: `${pattern} of ${mac}`, isWhole, startedAt });
      served[worker]?.resolve();
    }
  });
  dirs.defer(async () => {
    enough.abort();
    over.abort();
    await Promise.allSettled(work);
  });
  return {
    served: Promise.all(served.map(({ promise }) => promise)),
    finish: async () => {
      enough.abort();
      await Promise.all(work);
      expect((await readdir(out.path)).filter((name) => name.startsWith('.'))).toEqual([]);
      return results;
    },
    [Symbol.asyncDispose]: () => dirs.disposeAsync(),
  };
}

const lostOf = (results: readonly Result[]): unknown[] =>
  results.filter(({ isWhole }) => !isWhole).map(({ what, code, stderr }) => ({ what, code, stderr }));

/** Every node is back, and has answered. */
async function isServing(router: RoleProcess): Promise<void> {
  for (const [, mac] of NODES) await router.logged(({ msg, mac: of }) => msg === 'connector online' && of === mac);
  for (const [, mac] of NODES) await router.logged(({ msg, mac: of }) => msg === 'request done' && of === mac);
}

test('a rolling restart under load loses no request', async () => {
  await using directory = await makeTempDir();
  await using old = await startRouter(directory.path, '0');
  const { url } = old;
  await using load = await startLoad(url);
  await load.served;

  // One transfer is under way when the router is told to go, so that it has to wait.
  await using slow = await PlainConnector.connect(url, { mac: SLOW });
  const running = ask(url, '/datasets/request-stream', { mac: SLOW, dataset: 'b' });
  const { request_id } = await slow.next();
  await slow.post('/datasets/stream/init', { request_id, total_size: 6 });
  await slow.post('/datasets/stream/chunk', { request_id, data: 'abc' });
  old.child.kill('SIGTERM');
  // An app: connectors are turned away too.
  await old.logged(
    ({ msg, code, url: path }) =>
      msg === 'refused' && code === 'draining' && String(path).startsWith('/datasets/request-'),
  );
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
  await isServing(fresh);
  const results = await load.finish();

  expect(lostOf(results)).toEqual([]);
  // Some were turned away by the old one, waited, and were served by the new one.
  expect(results.filter(({ stderr }) => /going down.*trying again/.test(stderr)).length).toBeGreaterThan(0);
  expect(results.some(({ startedAt }) => startedAt < restartedAt)).toBe(true);
}, 120_000);

test('nor does one after which nobody is there for ten seconds', async () => {
  await using directory = await makeTempDir();
  await using old = await startRouter(directory.path, '0');
  const { url } = old;
  await using load = await startLoad(url);
  await load.served;
  expect(await old.end('SIGTERM')).toBe(0);
  const goneAt = performance.now();
  // As long as a container takes to be replaced.
  await setTimeout(10_000);
  await using fresh = await startRouter(directory.path, new URL(url).port);
  await isServing(fresh);
  const results = await load.finish();

  expect(lostOf(results)).toEqual([]);
  const waited = results.filter(({ stderr }) => stderr.includes('waiting for the router'));
  expect(waited.some(({ startedAt }) => startedAt < goneAt + 10_000)).toBe(true);
}, 120_000);
