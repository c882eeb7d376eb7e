import { createHash, randomBytes } from 'node:crypto';
import { appendFile, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { FaultyLine } from '../support/faulty-line.ts';
import { grown } from '../support/grown.ts';
import {
  type RoleProcess,
  runRelay,
  startConnectorProcess,
  startRelay,
  startRouterProcess,
} from '../support/processes.ts';
import { makeTempDir } from '../support/router.ts';
import { SlowLine } from '../support/slow-line.ts';

const NODE = 'cc-28-aa-01-02-03';
const BYTES = randomBytes(6_000_000);
const MORE = randomBytes(200_000);
const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');

let resources: AsyncDisposableStack;
let data: string;
let out: string;
let target: string;
let router: Awaited<ReturnType<typeof startRouterProcess>>;
/** Between connector and router. */
let line: SlowLine;
let connector: RoleProcess;

beforeEach(async () => {
  resources = new AsyncDisposableStack();
  data = resources.use(await makeTempDir()).path;
  out = resources.use(await makeTempDir()).path;
  target = join(out, 'app.log');
  await writeFile(join(data, 'app.log'), BYTES);
  router = resources.use(await startRouterProcess(['--silence-timeout', '2s']));
  via = router.url;
  line = resources.use(await SlowLine.to(router.url));
  connector = resources.use(await startConnectorProcess(line.url, NODE, data));
});
afterEach(() => resources.disposeAsync());

const grow = (): Promise<void> => appendFile(join(data, 'app.log'), MORE);
/** The router as the app reaches it. */
let via: string;
const argsOf = (command: string, ...more: string[]): string[] => [
  'app',
  command,
  '--router',
  via,
  '--verify',
  '-o',
  target,
  ...more,
  NODE,
  'app.log',
];
const PREFIX = ['--on-change', 'prefix'];
const GROWN = /the dataset has grown to 5\.\d MiB meanwhile; these are its first 5\.7 MiB/;

describe('relay app with --on-change prefix', () => {
  test.each(['request', 'request-sync', 'request-stream', 'request-offload'])(
    '%s gets a log that is written to meanwhile, as it was, and says so',
    async (command) => {
      line.hold();
      const app = startRelay(argsOf(command, ...PREFIX));
      await line.stalled;
      await grow();
      line.release();
      const { code, stderr } = await app.result;
      expect([code, stderr]).toEqual([0, expect.stringMatching(GROWN)]);
      expect(sha256(await readFile(target))).toBe(sha256(BYTES));
      expect(await readdir(out)).toEqual(['app.log']);
    },
  );

  test('request of a pattern gets it too', async () => {
    line.hold();
    const app = startRelay([
      'app',
      'request',
      '--router',
      via,
      '--verify',
      '--retry',
      '0',
      '-o',
      out,
      ...PREFIX,
      NODE,
      '*.log',
    ]);
    await line.stalled;
    await grow();
    line.release();
    const { code, stderr } = await app.result;
    expect([code, stderr]).toEqual([0, expect.stringMatching(/^relay: 1 fetched/)]);
    expect(sha256(await readFile(target))).toBe(sha256(BYTES));
  });

  test('says nothing of a dataset that stays as it is', async () => {
    const { code, stderr } = await runRelay(argsOf('request-stream', ...PREFIX));
    expect([code, stderr]).toEqual([0, '']);
  });

  test('--json says how far it has grown', async () => {
    line.hold();
    const app = startRelay(argsOf('request-offload', ...PREFIX, '--json'));
    await line.stalled;
    await grow();
    line.release();
    const { code, stdout } = await app.result;
    expect([code, JSON.parse(stdout.toString())]).toEqual([
      0,
      expect.objectContaining({
        size: BYTES.length,
        on_change: 'prefix',
        current_size: BYTES.length + MORE.length,
      }),
    ]);
  });

  test('goes on when the connector is killed, the log grows, and it comes back', async () => {
    line.hold();
    const app = startRelay(argsOf('request-stream', ...PREFIX));
    await line.stalled;
    await connector.end('SIGKILL');
    await grow();
    resources.use(await startConnectorProcess(router.url, NODE, data));
    const { code, stderr } = await app.result;
    expect([code, stderr]).toEqual([0, expect.stringMatching(GROWN)]);
    expect(sha256(await readFile(target))).toBe(sha256(BYTES));
    const resumed = await router.logged(({ msg }) => msg === 'the connector is asked to go on');
    expect(resumed['offset']).toBeGreaterThan(0);
  });

  test.each(['request', 'request-stream', 'request-offload'])(
    '%s that was interrupted goes on with its file, though the log has grown since',
    async (command) => {
      await using app = await FaultyLine.to(Number(new URL(router.url).port));
      via = app.url;
      app.arm({ kind: 'black-hole', traffic: 'data', direction: 'down', afterBytes: 2_000_000, outageMs: 0 });
      const first = startRelay(argsOf(command, ...PREFIX));
      await grown(out, '.app.log.relay-part', 1_000_000);
      first.child.kill('SIGINT');
      expect(await first.result).toMatchObject({ code: 130 });
      await grow();
      const { code, stderr } = await runRelay(argsOf(command, ...PREFIX));
      expect([code, stderr]).toEqual([0, expect.stringMatching(/going on with the partial file/)]);
      expect(stderr).toMatch(GROWN);
      expect(sha256(await readFile(target))).toBe(sha256(BYTES));
      expect(await readdir(out)).toEqual(['app.log']);
    },
  );

  test('fails where the log was written anew', async () => {
    line.hold();
    const app = startRelay(argsOf('request-stream', ...PREFIX));
    await line.stalled;
    await grown(out, '.app.log.relay-part', 1);
    await writeFile(join(data, 'app.log'), randomBytes(BYTES.length + 1));
    line.release();
    const { code, stderr } = await app.result;
    expect([code, stderr]).toEqual([7, expect.stringMatching(/was cut, replaced or written anew/)]);
    expect(await readdir(out)).toEqual([]);
  });
});

describe('relay app -o, of a dataset that has changed', () => {
  test('starts over only when told so where some of it had arrived', async () => {
    line.hold();
    const app = startRelay(argsOf('request-stream'));
    await line.stalled;
    await grown(out, '.app.log.relay-part', 1);
    await grow();
    line.release();
    const { code, stderr } = await app.result;
    expect([code, stderr]).toEqual([7, expect.stringMatching(/--on-change prefix/)]);
    expect(stderr).not.toMatch(/trying again/);
    expect(await readdir(out)).toEqual([]);
  });

  test.each(['request-stream', 'request-offload'])('%s keeps its partial file until it is told so', async (command) => {
    await using app = await FaultyLine.to(Number(new URL(router.url).port));
    via = app.url;
    app.arm({ kind: 'black-hole', traffic: 'data', direction: 'down', afterBytes: 2_000_000, outageMs: 0 });
    const first = startRelay(argsOf(command));
    await grown(out, '.app.log.relay-part', 1_000_000);
    first.child.kill('SIGINT');
    expect(await first.result).toMatchObject({ code: 130 });
    const left = await readdir(out);
    await grow();
    for (const more of [[], PREFIX]) {
      const { code, stderr } = await runRelay(argsOf(command, ...more));
      expect([code, stderr]).toEqual([7, expect.stringMatching(/--no-resume starts over/)]);
      expect(await readdir(out)).toEqual(left);
    }
    expect(await runRelay(argsOf(command, '--no-resume'))).toMatchObject({ code: 0 });
    expect(sha256(await readFile(target))).toBe(sha256(Buffer.concat([BYTES, MORE])));
    expect(await readdir(out)).toEqual(['app.log']);
  });
});
