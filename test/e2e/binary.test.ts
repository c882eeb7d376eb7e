import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { createHash, randomBytes } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { startMinio } from '../support/minio.ts';
import { RoleProcess, run, type RunResult, runRelay } from '../support/processes.ts';
import { makeTempDir } from '../support/router.ts';

const ROOT = join(import.meta.dirname, '../..');
const BINARY = join(ROOT, 'dist-bin/relay');
const MAC = 'cc-28-aa-01-02-03';
/** Nothing can be found by name: not Node.js, not a shell. */
const NOTHING = { PATH: '' };

const relay = (args: readonly string[], cwd?: string): Promise<RunResult> =>
  run(BINARY, args, { env: NOTHING, ...(cwd !== undefined && { cwd }) });

beforeAll(async () => {
  const { code, stderr } = await run('npm', ['run', '--silent', 'build:binary'], { cwd: ROOT });
  if (code !== 0) throw new Error(`npm run build:binary failed:\n${stderr}`);
}, 180_000);

describe('the single file, with nothing in PATH', () => {
  test('says its version, and nothing else', async () => {
    const { version } = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8')) as { version: string };
    const { code, stdout, stderr } = await relay(['--version']);
    expect([code, stdout.toString(), stderr]).toEqual([0, `${version}\n`, '']);
  });

  test.each([
    ['--help'],
    ['router', '--help'],
    ['connector', '--help'],
    ['app', 'request-offload', '--help'],
    ['completion', 'bash'],
    ['--get-yargs-completions', 'relay', 'app', ''],
    ['router', '--no-such-option'],
  ])('says what the package says: %s %s %s', async (...args) => {
    const options = { env: { ...NOTHING, SHELL: 'bash' } };
    const [own, packaged] = await Promise.all([run(BINARY, args, options), runRelay(args, options)]);
    expect([own.code, own.stdout.toString(), own.stderr]).toEqual([
      packaged.code,
      packaged.stdout.toString(),
      packaged.stderr,
    ]);
  });

  test('writes its log for people, too', async () => {
    await using data = await makeTempDir();
    const node = ['connector', '--router', 'http://127.0.0.1:1', '--mac', MAC, '--data-dir', data.path];
    const { code, stderr } = await relay([...node, '--log-format', 'pretty', '--give-up-after', '100ms'], data.path);
    expect(code).toBe(8);
    expect(stderr).toMatch(/INFO.*connector: connector cc-28-aa-01-02-03 offers/);
  });

  test('comes with the licenses of what is in it', async () => {
    const text = await readFile(join(ROOT, 'dist-bin/LICENSES.txt'), 'utf8');
    for (const name of ['relay', 'Node.js', 'zod', 'ws', '@aws-sdk/client-s3', 'yargs']) {
      expect(text).toMatch(new RegExp(`^${name}[ \\n]`, 'm'));
    }
  });

  test('plays the demo, which starts it again', async () => {
    await using work = await makeTempDir();
    const { code, stdout, stderr } = await run(BINARY, ['demo'], { env: { ...NOTHING, TMPDIR: work.path } });
    expect([code, stderr]).toEqual([0, '']);
    expect(stdout.toString()).toContain('Every byte was verified.');
  }, 120_000);
});

describe('router, connector and app of the single file', () => {
  const resources = new AsyncDisposableStack();
  const content = randomBytes(3_000_000);
  const urls: Record<'file' | 's3', string> = { file: '', s3: '' };
  let work = '';

  beforeAll(async () => {
    work = resources.use(await makeTempDir()).path;
    const data = resources.use(await makeTempDir()).path;
    await writeFile(join(data, 'a.bin'), content);
    const minio = resources.use(await startMinio());
    const s3 = {
      AWS_ACCESS_KEY_ID: minio.accessKey,
      AWS_SECRET_ACCESS_KEY: minio.secretKey,
      AWS_ENDPOINT_URL_S3: minio.endpoint,
    };
    for (const [kind, args, env] of [
      ['file', [], {}],
      ['s3', ['--store', `s3://${await minio.createBucket()}`], s3],
    ] as const) {
      const state = ['--port', '0', '--state-dir', join(work, kind)];
      const options = { command: [BINARY], cwd: work };
      const router = resources.use(
        new RoleProcess(['router', ...state, ...args], { ...options, env: { ...NOTHING, ...env } }),
      );
      urls[kind] = String((await router.logged(({ url }) => typeof url === 'string'))['url']);
      const node = ['connector', '--router', urls[kind], '--mac', MAC, '--data-dir', data];
      const connector = resources.use(new RoleProcess(node, { ...options, env: NOTHING }));
      await connector.logged(({ msg }) => msg === 'connected to router');
    }
  }, 120_000);

  afterAll(() => resources.disposeAsync());

  test.each([
    ['request-sync', 'file'],
    ['request-stream', 'file'],
    ['request-offload', 'file'],
    ['request-offload', 's3'],
  ] as const)('carry a dataset: %s, store %s', async (command, kind) => {
    const file = join(work, `${command}-${kind}`);
    const { code, stderr } = await relay(['app', command, MAC, 'a.bin', '--router', urls[kind], '-o', file], work);
    expect([code, stderr]).toEqual([0, '']);
    const hash = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');
    expect(hash(await readFile(file))).toBe(hash(content));
  });
});
