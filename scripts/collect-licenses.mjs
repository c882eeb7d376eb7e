/** Writes dist-bin/LICENSES.txt: the licenses of all that is in the bundle beside it, part of `npm run build:bundle`. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

const ROOT = resolve(import.meta.dirname, '..');

writeFileSync(join(ROOT, 'dist-bin/LICENSES.txt'), collectLicenses());

function collectLicenses() {
  const { inputs } = JSON.parse(readFileSync(join(ROOT, 'dist-bin/metafile-cjs.json'), 'utf8'));
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
