import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { randomBytes } from 'node:crypto';
import { readdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { startMinio } from '../support/minio.ts';
import { ask } from '../support/plain-app.ts';
import { PlainConnector } from '../support/plain-connector.ts';
import { RoleProcess, runRelay, startConnectorProcess, startRelay, startRouterProcess } from '../support/processes.ts';
import { makeTempDir } from '../support/router.ts';
import { SlowLine } from '../support/slow-line.ts';

const NODE = 'cc-28-aa-01-02-03';
const OTHER = 'cc-28-aa-01-02-04';

const resources = new AsyncDisposableStack();
let url = '';
let dataDir = '';
let outDir = '';

beforeAll(async () => {
  dataDir = resources.use(await makeTempDir()).path;
  outDir = resources.use(await makeTempDir()).path;
  await writeFile(join(dataDir, 'sales-2026.csv'), 'a,b\n1,2\n');
  await writeFile(join(dataDir, 'big.bin'), Buffer.alloc(3_000_000, 7));
  const router = resources.use(
    await startRouterProcess([
      '--buffer-max',
      '1MB',
      '--store-max',
      '2MB',
      '--first-byte-timeout',
      '1s',
      '--silence-timeout',
      '1s',
      '--reconnect-wait',
      '0s',
      '--resume-wait',
      '1s',
    ]),
  );
  ({ url } = router);
  resources.use(await startConnectorProcess(url, NODE, dataDir));
}, 60_000);

afterAll(() => resources.disposeAsync());

/** A request with `-o`, without retries: what it says, and what it leaves behind. */
async function request(command: string, mac: string, dataset: string, extra: readonly string[] = []) {
  const target = join(outDir, 'target');
  const { code, stderr } = await runRelay([
    'app',
    command,
    '--router',
    url,
    '--retry',
    '0',
    '-o',
    target,
    ...extra,
    '--',
    mac,
    dataset,
  ]);
  return { code, stderr, left: await readdir(outDir) };
}

const PATTERNS = ['request-sync', 'request-stream', 'request-offload'];

describe.each(PATTERNS)('%s', (command) => {
  test('exit 3 for a dataset that is not there, naming the nearest that is', async () => {
    const { code, stderr, left } = await request(command, NODE, 'sales-2025.csv');
    expect([code, left]).toEqual([3, []]);
    expect(stderr).toMatch(/sales-2026\.csv/);
  });

  test('exit 3 for what lies outside the data directory', async () => {
    expect(await request(command, NODE, '.hidden')).toMatchObject({ code: 3, left: [] });
    expect(await request(command, NODE, '../etc/passwd')).toMatchObject({ code: 2, left: [] });
  });

  test('exit 4 for a node that was never connected', async () => {
    const { code, stderr, left } = await request(command, '00:00:00:00:00:01', 'a.csv');
    expect([code, left]).toEqual([4, []]);
    expect(stderr).toMatch(/never/);
  });

  test('exit 4 for a node that went away, saying since when', async () => {
    const node = await PlainConnector.connect(url, { mac: OTHER });
    await node[Symbol.asyncDispose]();
    const { code, stderr } = await request(command, OTHER, 'a.csv');
    expect(code).toBe(4);
    expect(stderr).toMatch(/ago|seconds|just now/);
  });

  test('exit 2 for a MAC that is none', async () => {
    const { code, stderr } = await request(command, 'not-a-mac', 'a.csv');
    expect(code).toBe(2);
    expect(stderr).toMatch(/not-a-mac/);
  });

  test('exit 5 for a connector that stays silent', async () => {
    await using _node = await PlainConnector.connect(url, { mac: OTHER });
    expect(await request(command, OTHER, 'a.csv')).toMatchObject({ code: 5, left: [] });
  });

  test('exit 8 when the router cannot be reached', async () => {
    const { code, stderr } = await request(command, NODE, 'sales-2026.csv', ['--router', 'http://127.0.0.1:1']);
    expect(code).toBe(8);
    expect(stderr).toMatch(/127\.0\.0\.1:1/);
  });

  test('exit 9 when the output cannot be written', async () => {
    expect(await request(command, NODE, 'sales-2026.csv', ['-o', join(outDir, 'no', 'such', 'dir')])).toMatchObject({
      code: 9,
      left: [],
    });
    expect(await request(command, NODE, 'sales-2026.csv', ['-o', '/dev/full'])).toMatchObject({ code: 9, left: [] });
  });

  test('exit 8 and 503 when the data directory is gone', async () => {
    await rename(dataDir, `${dataDir}-away`);
    try {
      const { code, stderr } = await request(command, NODE, 'sales-2026.csv');
      expect(code).toBe(8);
      expect(stderr).toMatch(/data directory/);
    } finally {
      await rename(`${dataDir}-away`, dataDir);
    }
  });

  test('exits non-zero and leaves nothing under the name when the connector is killed in the middle', async () => {
    await using gate = await SlowLine.to(url);
    const data = await makeTempDir();
    await using _data = data;
    await writeFile(join(data.path, 'big.bin'), randomBytes(900_000));
    const connector = await startConnectorProcess(gate.url, OTHER, data.path);
    await using _connector = connector;
    gate.hold();
    // A stream waits for its connector to come back, longer than this test does.
    const running = request(command, OTHER, 'big.bin', ['--timeout', '10s']);
    await connector.logged(({ msg }) => msg === 'command received');
    await gate.stalled;
    await connector.end('SIGKILL');
    const { code, stderr, left } = await running;
    expect(code).not.toBe(0);
    // What has arrived of a stream is there to be gone on with, and is said to be.
    const parts = ['.target.relay-part', '.target.relay-part.json'];
    expect(left).toEqual(stderr.includes('Run the same command again to go on') ? parts : []);
    for (const name of left) await rm(join(outDir, name));
  });
});

test('exit 1 and 502 for a dataset that the connector may not read', async () => {
  await using data = await makeTempDir();
  await writeFile(join(data.path, 'closed.csv'), 'a,b\n', { mode: 0o000 });
  const args = ['--router', url, '--mac', OTHER, '--data-dir', data.path];
  // Root reads everything, so here it goes without that privilege.
  const options =
    process.getuid?.() === 0 ? { through: ['setpriv', '--bounding-set=-dac_override,-dac_read_search'] } : {};
  await using connector = new RoleProcess(['connector', ...args], options);
  await connector.logged(({ msg }) => msg === 'connected to router');
  for (const command of PATTERNS) {
    const { code, stderr, left } = await request(command, OTHER, 'closed.csv');
    expect([code, stderr, left]).toEqual([
      1,
      expect.stringMatching(/cannot read the dataset "closed.csv" .EACCES./),
      [],
    ]);
  }
  const answer = await ask(url, '/datasets/request-stream', { mac: OTHER, dataset: 'closed.csv' }).answer;
  expect([answer.status, answer.json()['code']]).toEqual([502, 'dataset_unreadable']);
});

test('exit 10 above the ceiling of pattern A, naming the way that goes', async () => {
  const { code, stderr, left } = await request('request-sync', NODE, 'big.bin');
  expect([code, left]).toEqual([10, []]);
  expect(stderr).toMatch(/request-stream/);
});

test('exit 10 when the store is full', async () => {
  const { code, stderr, left } = await request('request-offload', NODE, 'big.bin');
  expect([code, left]).toEqual([10, []]);
  expect(stderr).toMatch(/space|full/);
});

test('exit 10 without a store', async () => {
  await using router = await startRouterProcess(['--store', 'none']);
  await using _connector = await startConnectorProcess(router.url, NODE, dataDir);
  expect(await request('request-offload', NODE, 'big.bin', ['--router', router.url])).toMatchObject({
    code: 10,
    left: [],
  });
});

test('waits for an S3 store that is stuck for a while, and says exit 8 and 503 when it is down', async () => {
  const minio = await startMinio();
  await using _minio = minio;
  const bucket = await minio.createBucket();
  const env = {
    AWS_ACCESS_KEY_ID: minio.accessKey,
    AWS_SECRET_ACCESS_KEY: minio.secretKey,
    AWS_ENDPOINT_URL_S3: minio.endpoint,
  };
  await using router = await startRouterProcess(['--store', `s3://${bucket}`], env);
  await using connector = await startConnectorProcess(router.url, NODE, dataDir);
  process.kill(minio.pid, 'SIGSTOP');
  const stuck = request('request-offload', NODE, 'big.bin', ['--router', router.url]);
  await connector.logged(({ msg, command }) => msg === 'command received' && command === 'get_dataset_offload');
  process.kill(minio.pid, 'SIGCONT');
  expect(await stuck).toMatchObject({ code: 0, left: ['target'] });
  await rm(join(outDir, 'target'));
  process.kill(minio.pid, 'SIGKILL');
  const { code, stderr } = await request('request-offload', NODE, 'sales-2026.csv', ['--router', router.url]);
  expect(code).toBe(8);
  expect(stderr).toMatch(/store/);
}, 120_000);

test('403 url_expired for a signed URL after its time, and the app asks for a new one', async () => {
  await using router = await startRouterProcess(['--url-ttl', '1s']);
  await using _connector = await startConnectorProcess(router.url, NODE, dataDir);
  const { code, stdout } = await runRelay([
    'app',
    'request-offload',
    '--router',
    router.url,
    '--url',
    '--',
    NODE,
    'sales-2026.csv',
  ]);
  expect(code).toBe(0);
  const signed = stdout.toString().trim();
  let response: Response;
  do response = await fetch(signed);
  while (response.status === 200 && (await response.text()) !== undefined);
  expect(response.status).toBe(403);
  expect(await response.json()).toMatchObject({ code: 'url_expired', retryable: true });
});

test('exit 7 when the content is not what was promised', async () => {
  await using node = await PlainConnector.connect(url, { mac: OTHER, capabilities: 'digest' });
  const running = request('request-stream', OTHER, 'a.csv');
  const { request_id } = await node.next();
  await node.post('/datasets/stream/init', { request_id, total_size: 3 });
  await node.post('/datasets/stream/chunk', { request_id, data: 'abd' });
  const digest = 'sha-256=:ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=:';
  await node.post('/datasets/stream/complete', { request_id, total_size: 3, digest });
  expect(await running).toMatchObject({ code: 7, left: [] });
});

test('tells who cannot be verified, and exits 7 where that was asked for', async () => {
  await using node = await PlainConnector.connect(url, { mac: OTHER });
  const answer = async (): Promise<void> => {
    const { request_id } = await node.next();
    await node.post('/datasets/result', { request_id, data: 'abc' });
  };
  const [plain] = await Promise.all([request('request-stream', OTHER, 'a.csv'), answer()]);
  expect(plain).toMatchObject({ code: 0, left: ['target'] });
  expect(plain.stderr).toMatch(/unverified/);
  await rm(join(outDir, 'target'));
  const [strict] = await Promise.all([request('request-stream', OTHER, 'a.csv', ['--verify']), answer()]);
  expect(strict).toMatchObject({ code: 7, left: [] });
});

test('Ctrl-C cancels at the connector, leaves nothing and exits 130', async () => {
  await using node = await PlainConnector.connect(url, { mac: OTHER, capabilities: 'cancel' });
  const target = join(outDir, 'target');
  const running = startRelay(['app', 'request-stream', '--router', url, '-o', target, '--', OTHER, 'a.csv']);
  const { request_id } = await node.next();
  running.child.kill('SIGINT');
  expect(await node.next()).toEqual({ command: 'cancel', request_id });
  expect((await running.result).code).toBe(130);
  expect(await readdir(outDir)).toEqual([]);
});

test('a file that changes while it is sent is never mixed', async () => {
  await using gate = await SlowLine.to(url);
  await using data = await makeTempDir();
  const path = join(data.path, 'log.bin');
  await writeFile(path, randomBytes(30_000_000));
  await using connector = await startConnectorProcess(gate.url, OTHER, data.path);
  gate.hold();
  const running = request('request-stream', OTHER, 'log.bin');
  await connector.logged(({ msg }) => msg === 'command received');
  await gate.stalled;
  await writeFile(path, randomBytes(30_000_000));
  gate.release();
  expect(await running).toMatchObject({ code: 7, left: [] });
});

test('usage errors name the flag, and a missing data directory', async () => {
  const unknown = await runRelay(['app', 'request-sync', '--no-such-flag', NODE, 'x']);
  expect([unknown.code, unknown.stderr]).toEqual([2, expect.stringMatching(/no-such-flag/)]);
  const host = new RoleProcess(['router', '--host', '0.0.0.0', '--port', '0']);
  expect(await host.exited).toBe(2);
  const missing = new RoleProcess(['connector', '--router', url, '--mac', NODE, '--data-dir', join(outDir, 'nowhere')]);
  expect(await missing.exited).toBe(2);
  expect(JSON.stringify(missing.log)).toMatch(/nowhere/);
});
