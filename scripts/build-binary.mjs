/**
 * Makes one file of relay and Node.js that runs where there is neither: `npm run build:binary` bundles, then runs this.
 *
 *   node scripts/build-binary.mjs [--executable FILE] [--output FILE]
 *
 * By default it is made of the Node.js that runs this, for this platform, as dist-bin/relay. `--executable` takes the
 * Node.js of another platform, of the very same version, such as node.exe for Windows. The licenses of all that went into
 * the file are written beside it.
 */
import { execFileSync } from 'node:child_process';
import { chmodSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
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
writeFileSync(join(dirname(output), 'LICENSES.txt'), collectLicenses());
process.stdout.write(`${output}\n`);

function collectLicenses() {
  const { inputs } = JSON.parse(readFileSync(join(BUNDLE, 'metafile-cjs.json'), 'utf8'));
  const packages = Object.keys(inputs).map((file) => /^.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(file)?.[0]);
  const texts = [...new Set(packages.filter((each) => each !== undefined))].toSorted().map(describePackage);
  const node =
    `Node.js ${process.versions.node}, and what it is made of: ` +
    `https://github.com/nodejs/node/blob/v${process.versions.node}/LICENSE\n`;
  return [`relay\n\n${readFileSync(join(ROOT, 'LICENSE'), 'utf8')}`, node, ...texts].join(`\n${'-'.repeat(80)}\n\n`);
}

function describePackage(directory) {
  const path = join(ROOT, directory);
  const { name, version, license } = JSON.parse(readFileSync(join(path, 'package.json'), 'utf8'));
  const files = readdirSync(path).filter((file) => /^(?:licen[cs]e|notice)/i.test(file));
  return [`${name} ${version} (${license})\n`, ...files.map((file) => readFileSync(join(path, file), 'utf8'))].join(
    '\n',
  );
}
