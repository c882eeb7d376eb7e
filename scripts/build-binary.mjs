/**
 * Makes one file of relay and Node.js that runs where there is neither: `npm run build:binary` bundles, then runs this.
 *
 *   node scripts/build-binary.mjs [--executable FILE] [--output FILE]
 *
 * By default it is made of the Node.js that runs this, for this platform, as dist-bin/relay. `--executable` takes the
 * Node.js of another platform, of the very same version, such as node.exe for Windows.
 */
import { execFileSync } from 'node:child_process';
import { chmodSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';

const ROOT = resolve(import.meta.dirname, '..');
const BUNDLE = join(ROOT, 'dist-bin');

const { values } = parseArgs({ options: { executable: { type: 'string' }, output: { type: 'string' } } });
const executable = resolve(values.executable ?? process.execPath);
const isWindows = readFileSync(executable).subarray(0, 2).toString('latin1') === 'MZ';
const output = resolve(values.output ?? join(BUNDLE, isWindows ? 'relay.exe' : 'relay'));

if (Number(process.versions.node.split('.')[0]) < 26) {
  throw new Error(`Node.js 26 is needed, and this is ${process.versions.node}; run it as npm run build:binary`);
}
const config = join(BUNDLE, 'sea.json');
const settings = {
  main: join(BUNDLE, 'relay.cjs'),
  mainFormat: 'commonjs',
  executable,
  output,
  disableExperimentalSEAWarning: true,
  // Compiled code is good for the Node.js that compiled it only.
  useCodeCache: values.executable === undefined,
};
writeFileSync(config, JSON.stringify(settings));
try {
  execFileSync(process.execPath, ['--build-sea', config], { stdio: ['ignore', 'ignore', 'inherit'] });
  chmodSync(output, 0o755);
} finally {
  rmSync(config, { force: true });
}
process.stdout.write(`${output}\n`);
