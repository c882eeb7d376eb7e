import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { delimiter, dirname, join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { ensurePython } from '../../scripts/python.mjs';
import { makeCertificates } from '../support/authority.ts';
import type { Changes } from '../support/client-site.ts';
import { readDocScript } from '../support/doc-commands.ts';
import {
  RELAY,
  type RunResult,
  run,
  runRelay,
  startConnectorProcess,
  startRouterProcess,
} from '../support/processes.ts';
import { makeTempDir } from '../support/router.ts';

const CLIENTS = join(import.meta.dirname, '../../docs/clients.md');
const HOST = 'https://relay.example.com';
const MAC = 'cc-28-aa-01-02-03';
const CSV = 'time,celsius\n08:00,61.5\n';

const resources = new AsyncDisposableStack();
let desk = '';
let url = '';

/** What the document has under a name, with the router's address. */
const read = async (name: string, changes: Changes = {}): Promise<string> =>
  (await readDocScript(CLIENTS, name, changes)).replaceAll(HOST, url).replaceAll('relay.example.com', '127.0.0.1');

const execute = (program: string, args: readonly string[]): Promise<RunResult> =>
  run(program, args, {
    cwd: desk,
    env: {
      PATH: [dirname(process.execPath), process.env['PATH']].join(delimiter),
      HOME: join(desk, 'home'),
      D: `${url}/connectors/${MAC}/datasets`,
    },
  });

beforeAll(async () => {
  desk = resources.use(await makeTempDir()).path;
  await mkdir(join(desk, 'home'));
  const keys = resources.use(await makeTempDir()).path;
  const { ca, cert, key } = await makeCertificates(keys, 'IP:127.0.0.1');
  await writeFile(join(desk, 'plant-ca.pem'), await readFile(ca));
  const data = resources.use(await makeTempDir()).path;
  await writeFile(join(data, 'measurements.csv'), CSV);
  const env = { RELAY_SECRET: 'one secret of more than thirty-two characters' };
  const make = async (file: string, ...args: string[]): Promise<string> => {
    const { stdout } = await runRelay(['token', 'create', '--mac', MAC, '--role', ...args], { env });
    await writeFile(file, stdout, { mode: 0o600 });
    return file;
  };
  await make(join(desk, 'analyst.token'), 'app', '--dataset', '**');
  const token = await make(join(keys, 'token'), 'connector');
  ({ url } = resources.use(await startRouterProcess(['--tls-cert', cert, '--tls-key', key], env)));
  resources.use(await startConnectorProcess(url, MAC, data, ['--ca', ca, '--token-file', token]));
  const { code, stderr } = await execute('sh', ['-euc', await read('netrc')]);
  if (code !== 0) throw new Error(stderr);
}, 60_000);

afterAll(() => resources.disposeAsync());

test('programs read over https that are told of the authority', async () => {
  await writeFile(
    join(desk, 'read.js'),
    `${await read('node')}${await read('fetch', { 'console.log': 'process.stdout.write' })}`,
  );
  await writeFile(join(desk, 'package.json'), '{ "type": "module" }');
  const relay = await read('authority, relay', { 'relay app': `${process.execPath} ${RELAY} app` });
  const { code, stderr } = await execute('sh', ['-euc', `${await read('authority')}\n${relay}`]);
  expect([stderr, code]).toEqual([expect.any(String), 0]);
  for (const name of ['curl', 'wget', 'aria2', 'node', 'relay']) {
    expect([name, await readFile(join(desk, `by-${name}.csv`), 'utf8')]).toEqual([name, CSV]);
  }
  const python = await execute(await ensurePython(), [
    '-c',
    `${await read('python')}${await read('authority, python')}`,
  ]);
  expect([python.stderr, python.stdout.toString()]).toEqual(['', `${CSV}\n`]);
});

test('programs that are not told refuse', async () => {
  const { code, stderr } = await execute('sh', ['-euc', await read('curl')]);
  expect([code, stderr]).toEqual([60, expect.stringContaining('certificate')]);
  const python = await execute(await ensurePython(), ['-c', `${await read('python')}${await read('urllib')}`]);
  expect([python.code, python.stderr]).toEqual([1, expect.stringContaining('CERTIFICATE_VERIFY_FAILED')]);
});
