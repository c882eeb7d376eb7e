import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { run } from './processes.ts';
import { makeTempDir } from './router.ts';

const ROOT = join(import.meta.dirname, '../..');

/** A directory in which the package is installed with npm, as it would be published. It is gone at the end of the scope. */
export async function installPackage(): Promise<AsyncDisposable & { path: string }> {
  await using resources = new AsyncDisposableStack();
  const { path } = resources.use(await makeTempDir());
  // What is packed was built before the tests.
  const packed = await run('npm', ['pack', '--ignore-scripts', '--json', '--pack-destination', path], { cwd: ROOT });
  const [{ filename = '' } = {}] = JSON.parse(packed.stdout.toString()) as { filename?: string }[];
  await writeFile(join(path, 'package.json'), '{ "private": true, "type": "module" }');
  const quiet = ['--no-audit', '--no-fund', '--prefer-offline', '--loglevel=error'];
  const { code, stderr } = await run('npm', ['install', ...quiet, join(path, filename)], { cwd: path });
  if (code !== 0) throw new Error(`npm install failed:\n${stderr}`);
  const installed = resources.move();
  return { path, [Symbol.asyncDispose]: () => installed.disposeAsync() };
}
