import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { readFile, writeFile } from 'node:fs/promises';
import { delimiter, dirname, join } from 'node:path';
import { run, type RunResult, startConnectorProcess, startRouterProcess } from '../support/processes.ts';
import { makeTempDir } from '../support/router.ts';

const ROOT = join(import.meta.dirname, '../..');
const MAC = 'cc-28-aa-01-02-03';
const CSV = 'time,celsius\n08:00,61.5\n';
const resources = new AsyncDisposableStack();
let place = '';

/** Runs a program where the package is installed, on the Node.js of the tests. */
const runThere = (program: string, args: readonly string[]): Promise<RunResult> =>
  run(program, args, {
    cwd: place,
    env: { ...process.env, PATH: `${dirname(process.execPath)}${delimiter}${process.env.PATH}` },
  });

beforeAll(async () => {
  place = resources.use(await makeTempDir()).path;
  // What is packed was built before the tests.
  const packed = await run('npm', ['pack', '--ignore-scripts', '--json', '--pack-destination', place], { cwd: ROOT });
  const [{ filename = '' } = {}] = JSON.parse(packed.stdout.toString()) as { filename?: string }[];
  await writeFile(join(place, 'package.json'), '{ "private": true, "type": "module" }');
  const quiet = ['--no-audit', '--no-fund', '--prefer-offline', '--loglevel=error'];
  const { code, stderr } = await run('npm', ['install', ...quiet, join(place, filename)], { cwd: place });
  if (code !== 0) throw new Error(`npm install failed:\n${stderr}`);
}, 300_000);

afterAll(() => resources.disposeAsync());

describe('the package, installed with npm', () => {
  test('has a command that says its version', async () => {
    const { version } = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8')) as { version: string };
    const { code, stdout, stderr } = await runThere(join(place, 'node_modules/.bin/relay'), ['--version']);
    expect([code, stdout.toString(), stderr]).toEqual([0, `${version}\n`, '']);
  });

  test('is a library whose examples in the README work', async () => {
    const readme = await readFile(join(ROOT, 'README.md'), 'utf8');
    const examples = [...readme.matchAll(/```js\n([^]*?)```/g)].map(([, code = '']) => code);
    expect(examples).toHaveLength(3);
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
    expect(said).toEqual([CSV, `${CSV.length} true\n`, '']);
    expect(await readFile(join(place, 'copy.csv'), 'utf8')).toBe(CSV);
  });
});
