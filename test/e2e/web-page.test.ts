import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { ensureDuckdbWasm } from '../../scripts/runtimes.mjs';
import { openBrowser } from '../support/browser.ts';
import { readDocScript } from '../support/doc-commands.ts';
import { servePage } from '../support/page-site.ts';
import { createToken, run, runRelay, startConnectorProcess, startRouterProcess } from '../support/processes.ts';
import { makeTempDir } from '../support/router.ts';

const ROOT = join(import.meta.dirname, '../..');
const MAC = 'cc-28-aa-01-02-03';
const SECRET = 'one secret of more than thirty-two characters';
const ROWS = 100_000;
const CSV = `minute,celsius\n${Array.from({ length: ROWS }, (_, index) => `${index},${index % 7}\n`).join('')}`;

/** DuckDB as a page has it, with what the page's script calls it by. */
const script = (query: string): string => `
import { AsyncDuckDB, VoidLogger } from '@duckdb/duckdb-wasm';
globalThis.query = async (link) => {
  const db = new AsyncDuckDB(new VoidLogger(), new Worker('/worker.js'));
  await db.instantiate(new URL('/duckdb.wasm', location.href).href);
  const connection = await db.connect();
  try {
    ${query}
    return table.toArray().map((row) => row.toArray().map(Number));
  } finally {
    await connection.close();
    await db.terminate();
  }
};
`;

test('DuckDB-Wasm reads a CSV by a signed link, in a page of an origin that the router was told, and in no other', async () => {
  const duckdb = await ensureDuckdbWasm();
  await using directory = await makeTempDir();
  const path = (name: string): string => join(directory.path, name);
  await writeFile(path('script.mjs'), script(await readDocScript(join(ROOT, 'docs/clients.md'), 'duckdb-wasm')));
  const options = [
    '--bundle',
    '--platform=browser',
    '--format=iife',
    `--outfile=${path('page.js')}`,
    '--log-level=error',
  ];
  const bundled = await run(join(ROOT, 'node_modules/.bin/esbuild'), [path('script.mjs'), ...options], {
    env: { ...process.env, NODE_PATH: join(duckdb, '../..') },
  });
  expect([bundled.code, bundled.stderr]).toEqual([0, '']);
  await using page = await servePage({
    '/page.js': path('page.js'),
    '/worker.js': join(duckdb, 'dist/duckdb-browser-eh.worker.js'),
    '/duckdb.wasm': join(duckdb, 'dist/duckdb-eh.wasm'),
  });

  await using data = await makeTempDir();
  await writeFile(join(data.path, 'measurements.csv'), CSV);
  const env = { RELAY_SECRET: SECRET };
  const make = (...args: string[]): Promise<string> => createToken(['--mac', MAC, ...args], env);
  await writeFile(path('token'), await make('--role', 'connector'), { mode: 0o600 });
  await using router = await startRouterProcess(['--cors-origin', page.origin], env);
  await using _connector = await startConnectorProcess(router.url, MAC, data.path, ['--token-file', path('token')]);
  const app = { env: { RELAY_TOKEN: await make('--role', 'app', '--dataset', '**') } };
  const link = await runRelay(['app', 'url', '--router', router.url, MAC, 'measurements.csv'], app);
  const url = link.stdout.toString().trim();

  await using browser = await openBrowser();
  const tab = await browser.context.newPage();
  const query = async (origin: string): Promise<number[][]> => {
    await tab.goto(origin);
    await tab.addScriptTag({ url: '/page.js' });
    return tab.evaluate((each) => (globalThis as unknown as { query: typeof query }).query(each), url);
  };
  expect(await query(page.origin)).toEqual([[ROWS, 6]]);
  await expect(query(page.otherOrigin)).rejects.toThrow('NetworkError');
}, 120_000);
