import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { randomFillSync } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { run, runRelay, startRouterProcess } from '../support/processes.ts';
import { makeTempDir } from '../support/router.ts';

const EXAMPLE = join(import.meta.dirname, '../../examples/connector.py');
const NODE = 'cc-28-aa-01-02-03';
const WEBSOCKETS = 'websockets==15.0.1';

const resources = new AsyncDisposableStack();
let url = '';
let dataDir = '';
let packages = '';
const big = randomFillSync(Buffer.alloc(7_000_001));

beforeAll(async () => {
  packages = await installWebsockets();
  const data = resources.use(await makeTempDir());
  dataDir = data.path;
  await writeFile(join(dataDir, 'text.csv'), 'ä,b\n1,2\n');
  await writeFile(join(dataDir, 'empty'), '');
  await writeFile(join(dataDir, 'big 1.bin'), big);
  ({ url } = resources.use(await startRouterProcess()));
}, 120_000);

afterAll(() => resources.disposeAsync());

test('the example stays small', async () => {
  expect((await readFile(EXAMPLE, 'utf8')).split('\n').length).toBeLessThan(60);
});

describe.each([
  ['websocket', []],
  ['sse', ['sse']],
] as const)('the example connector over %s', (_, args) => {
  test.each(['request-sync', 'request-stream', 'request-offload'])('does %s', async (command) => {
    await using _connector = await startExample(args);
    for (const [name, expected] of [
      ['text.csv', Buffer.from('ä,b\n1,2\n')],
      ['empty', Buffer.alloc(0)],
      ['big 1.bin', big],
    ] as const) {
      const { code, stdout } = await runRelay(['app', command, '--router', url, '--', NODE, name]);
      expect([name, code, stdout.equals(expected)]).toEqual([name, 0, true]);
    }
    expect((await runRelay(['app', command, '--router', url, '--', NODE, 'missing'])).code).toBe(3);
  });
});

/** Starts the example, and waits until the router sees it. */
async function startExample(args: readonly string[]): Promise<AsyncDisposable> {
  const child = spawn('python3', [EXAMPLE, url, NODE, dataDir, ...args], {
    stdio: ['ignore', 'ignore', 'inherit'],
    env: { ...process.env, PYTHONPATH: packages },
  });
  const exited = once(child, 'exit');
  while (!(await isOnline())) {
    if (child.exitCode !== null) throw new Error('the example ended');
  }
  return {
    [Symbol.asyncDispose]: async () => {
      child.kill('SIGKILL');
      await exited;
      // The next one must not be taken for this one.
      while (await isOnline());
    },
  };
}

async function isOnline(): Promise<boolean> {
  const response = await fetch(`${url}/connectors/${NODE}`);
  return response.ok && ((await response.json()) as { state: string }).state === 'online';
}

/** The one package that the example needs over WebSocket, outside the tree and the system. @returns the directory for PYTHONPATH. */
async function installWebsockets(): Promise<string> {
  const directory = join(
    process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'),
    'relay-test',
    WEBSOCKETS.replace('==', '-'),
  );
  const check = await run('python3', ['-c', 'import websockets.sync.client'], {
    env: { ...process.env, PYTHONPATH: directory },
  });
  if (check.code === 0) return directory;
  const { code, stderr } = await run('python3', ['-m', 'pip', 'install', '--quiet', '--target', directory, WEBSOCKETS]);
  if (code !== 0) throw new Error(`Python's package ${WEBSOCKETS} is missing and cannot be installed: ${stderr}`);
  return directory;
}
