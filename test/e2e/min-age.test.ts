import { readdir, readFile, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import {
  type RunResult,
  runRelay,
  startConnectorProcess,
  startRelay,
  startRouterProcess,
} from '../support/processes.ts';
import { makeTempDir } from '../support/router.ts';

const NODE = 'cc-28-aa-01-02-03';
const OTHER = 'cc-28-aa-01-02-04';

let resources: AsyncDisposableStack;
let data: string;
let out: string;
let router: Awaited<ReturnType<typeof startRouterProcess>>;

beforeEach(async () => {
  resources = new AsyncDisposableStack();
  data = resources.use(await makeTempDir()).path;
  out = resources.use(await makeTempDir()).path;
  await write('young.csv', 10);
  await write('old.csv', 400);
  router = resources.use(await startRouterProcess());
});
afterEach(() => resources.disposeAsync());

/** Writes a dataset that was last changed so many seconds ago. */
async function write(name: string, ageS: number): Promise<void> {
  await writeFile(join(data, name), name);
  const time = Date.now() / 1000 - ageS;
  await utimes(join(data, name), time, time);
}
const connect = async (mac = NODE, ...more: string[]): Promise<void> =>
  void resources.use(await startConnectorProcess(router.url, mac, data, more));
const relay = (command: string, ...more: string[]): Promise<RunResult> =>
  runRelay(['app', command, '--router', router.url, ...more]);
const FIVE_MINUTES = ['--min-age', '5m'];

describe('relay app --min-age', () => {
  test.each(['request', 'request-sync', 'request-stream', 'request-offload', 'stat'])(
    '%s refuses at once what is younger, and says why',
    async (command) => {
      await connect();
      const young = await relay(command, ...FIVE_MINUTES, NODE, 'young.csv');
      expect([young.code, young.stdout.toString()]).toEqual([8, '']);
      expect(young.stderr).toMatch(/"young\.csv" was last changed at .*, 1\d(\.\d+)? s ago.* not changed for 300 s/);
      expect(young.stderr).toMatch(/--wait/);
      const old = await relay(command, ...FIVE_MINUTES, NODE, 'old.csv');
      expect([old.code, old.stderr, old.stdout.toString()]).toEqual([0, '', expect.stringContaining('old.csv')]);
    },
  );

  test('--json gives the error with the time until then', async () => {
    await connect();
    const { code, stderr } = await relay('request-sync', '--json', ...FIVE_MINUTES, NODE, 'young.csv');
    expect([code, JSON.parse(stderr.split('\n', 1)[0] ?? '')]).toEqual([
      8,
      expect.objectContaining({ code: 'dataset_too_recent', retry_after: expect.any(Number) }),
    ]);
  });

  test('--wait has it wait until the dataset is old enough', async () => {
    await connect();
    await write('young.csv', 296);
    const app = startRelay([
      'app',
      'request-stream',
      '--router',
      router.url,
      ...FIVE_MINUTES,
      '--wait',
      '1m',
      NODE,
      'young.csv',
    ]);
    const { code, stdout, stderr } = await app.result;
    expect([code, stdout.toString(), stderr]).toEqual([
      0,
      'young.csv',
      expect.stringMatching(/waiting for the dataset/),
    ]);
  });

  test('datasets lists what is older', async () => {
    await connect();
    expect((await relay('datasets', ...FIVE_MINUTES, NODE)).stdout.toString()).toBe('old.csv\n');
    const none = await relay('datasets', ...FIVE_MINUTES, NODE, 'y*');
    expect([none.code, none.stderr]).toEqual([0, expect.stringMatching(/no dataset unchanged for 5 min matches y\*/)]);
  });

  test('a pattern gets what is older, and fails for nothing else', async () => {
    await connect();
    const some = await relay('request', ...FIVE_MINUTES, '-o', out, NODE, '*.csv');
    expect([some.code, (await readdir(out)).toSorted()]).toEqual([0, ['.relay-index', 'old.csv']]);
    const none = await relay('request', ...FIVE_MINUTES, '-o', out, NODE, 'y*.csv');
    expect([none.code, none.stderr]).toEqual([0, expect.stringMatching(/^relay: 0 fetched/)]);
    await write('young.csv', 400);
    expect((await relay('request', ...FIVE_MINUTES, '-o', out, NODE, 'y*.csv')).code).toBe(0);
    expect(await readFile(join(out, 'young.csv'), 'utf8')).toBe('young.csv');
  });

  test('so does --connectors', async () => {
    await connect();
    await connect(OTHER);
    const { code } = await relay('request', ...FIVE_MINUTES, '-o', `${out}/{mac}/{path}`, '--connectors', 'all', '*');
    expect(code).toBe(0);
    for (const mac of [NODE, OTHER]) expect(await readdir(join(out, mac))).toEqual(['old.csv']);
  });
});

describe('relay connector --min-age', () => {
  test('offers nothing younger to anybody', async () => {
    await connect(NODE, ...FIVE_MINUTES);
    expect((await relay('datasets', NODE)).stdout.toString()).toBe('old.csv\n');
    expect(await relay('request-stream', NODE, 'young.csv')).toMatchObject({ code: 8 });
    expect((await relay('request-stream', NODE, 'old.csv')).stdout.toString()).toBe('old.csv');
    const url = `${router.url}/connectors/${NODE}/datasets/young.csv`;
    const response = await fetch(url, { headers: { Range: 'bytes=0-1' } });
    expect([response.status, Number(response.headers.get('retry-after'))]).toEqual([503, expect.any(Number)]);
    expect(await response.json()).toMatchObject({ code: 'dataset_too_recent', retryable: true });
  });

  test('says how long it was told', async () => {
    const args = ['connector', '--print-config', '--router', router.url, '--mac', NODE, '--data-dir', data];
    const { stdout } = await runRelay(args, { env: { RELAY_MIN_AGE: '90s' } });
    expect(stdout.toString()).toMatch(/min-age\s.*90s|1m30s/);
  });
});
