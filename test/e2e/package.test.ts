import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { createHash } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { delimiter, dirname, join } from 'node:path';
import { installPackage } from '../support/installed-package.ts';
import { run, type RunResult, startConnectorProcess, startRouterProcess } from '../support/processes.ts';
import { makeTempDir } from '../support/router.ts';

const ROOT = join(import.meta.dirname, '../..');
const MAC = 'cc-28-aa-01-02-03';
const CSV = 'time,celsius\n08:00,61.5\n';
const DIGEST = `sha-256=:${createHash('sha256').update(CSV).digest('base64')}:`;
const resources = new AsyncDisposableStack();
let place = '';

/** Runs a program where the package is installed, on the Node.js of the tests. */
const runThere = (program: string, args: readonly string[]): Promise<RunResult> =>
  run(program, args, {
    cwd: place,
    env: { ...process.env, PATH: `${dirname(process.execPath)}${delimiter}${process.env.PATH}` },
  });

beforeAll(async () => {
  place = resources.use(await installPackage()).path;
}, 300_000);

afterAll(() => resources.disposeAsync());

/** Every module that a file of the built package brings with it. */
async function walk(path: string, seen = new Set<string>()): Promise<Set<string>> {
  if (seen.has(path)) return seen;
  seen.add(path);
  for (const [, from = ''] of (await readFile(path, 'utf8')).matchAll(/(?:from|^import) "([^"]+)";$/gm)) {
    if (from.startsWith('.')) await walk(join(dirname(path), from), seen);
    else seen.add(from);
  }
  return seen;
}

describe('the package, installed with npm', () => {
  test('has a library that needs zod and nothing of Node.js', async () => {
    const dist = join(place, 'node_modules/@relay-data/relay/dist');
    const packages = async (file: string): Promise<string[]> =>
      [...(await walk(join(dist, file)))].filter((module) => !module.startsWith('/'));
    expect(await packages('index.js')).toEqual(['zod']);
    expect(await packages('files.js')).toContain('node:fs/promises');
  });

  test('has a command that says its version', async () => {
    const { version } = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8')) as { version: string };
    const { code, stdout, stderr } = await runThere(join(place, 'node_modules/.bin/relay'), ['--version']);
    expect([code, stdout.toString(), stderr]).toEqual([0, `${version}\n`, '']);
  });

  test.each([
    ['README.md', [CSV, `${CSV.length} true\n`, '1 0\n', '']],
    [
      'docs/library.md',
      [
        `${MAC} online\nmeasurements.csv ${CSV.length}\n${CSV.length} true\n`,
        CSV,
        `${CSV.slice(5, 12)}\n`,
        `stream its size is not known yet, and a stream is one round trip\n${CSV} ${DIGEST}\n`,
        `${CSV.length} true\n`,
        'measurements.csv fetched undefined\nmeasurements.csv present undefined\n0 1 0\n',
        `1 0 ${CSV.length}\n`,
        '206 time null\n',
        '200\n',
        'dataset_not_found false\n',
      ],
    ],
  ])('is a library whose examples in %s work', async (document, outputs) => {
    const text = await readFile(join(ROOT, document), 'utf8');
    const examples = [...text.matchAll(/```js\n([^]*?)```/g)].map(([, code = '']) => code);
    await using data = await makeTempDir();
    await writeFile(join(data.path, 'measurements.csv'), CSV);
    await using router = await startRouterProcess();
    await using _connector = await startConnectorProcess(router.url, MAC, data.path);
    const said: string[] = [];
    for (const [index, example] of examples.entries()) {
      const script = join(place, `example-${index}.js`);
      await writeFile(script, example.replaceAll('http://127.0.0.1:8080', router.url));
      const { code, stdout, stderr } = await runThere(process.execPath, [script]);
      expect([code, stderr]).toEqual([0, '']);
      said.push(stdout.toString());
    }
    expect(said).toEqual(outputs);
  });
});
