/**
 * Adds what npm leaves out of package-lock.json where its registry does not carry the packages of other platforms: `npm ci`
 * refuses a lock without them, and those platforms need them. To be run after a dependency has changed. Without the packages
 * themselves their platform is read off their names, and there is no integrity hash to add.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const FILE = join(import.meta.dirname, '../package-lock.json');
const SYSTEMS = ['android', 'darwin', 'linux', 'win32', 'freebsd', 'openbsd', 'netbsd', 'sunos', 'aix', 'openharmony'];
const PROCESSORS = {
  ...Object.fromEntries(
    ['arm64', 'x64', 'ia32', 'arm', 'ppc64', 's390x', 'riscv64', 'loong64', 'mips64el', 'wasm32'].map((name) => [
      name,
      name,
    ]),
  ),
  x86: 'ia32',
  aarch64: 'arm64',
};

const lock = JSON.parse(readFileSync(FILE, 'utf8'));
const missing = Object.entries(lock.packages).flatMap(([path, entry]) =>
  Object.entries(entry.optionalDependencies ?? {})
    .filter(([name]) => !isLocked(path, name))
    .map(([name, version]) => ({ name, version, isDev: entry.dev === true })),
);
for (const { name, version, isDev } of missing) {
  const words = name.split('/').at(-1).split(/[-.]/);
  const systems = words.filter((word) => SYSTEMS.includes(word));
  const processors = words.filter((word) => Object.hasOwn(PROCESSORS, word)).map((word) => PROCESSORS[word]);
  if (!/^\d/.test(version) || (systems.length !== 1 && processors.length !== 1)) {
    throw new Error(`cannot tell version or platform of ${name}@${version}: add it to package-lock.json by hand`);
  }
  const libc = words.some((word) => word.startsWith('musl')) ? 'musl' : words.includes('gnu') ? 'glibc' : undefined;
  lock.packages[`node_modules/${name}`] = {
    version,
    ...(processors.length > 0 && { cpu: processors }),
    ...(isDev && { dev: true }),
    ...(libc !== undefined && systems[0] === 'linux' && { libc: [libc] }),
    optional: true,
    ...(systems.length > 0 && { os: systems }),
  };
}
const [root, ...rest] = Object.entries(lock.packages);
lock.packages = Object.fromEntries([root, ...rest.toSorted(([a], [b]) => a.localeCompare(b, 'en'))]);
writeFileSync(FILE, `${JSON.stringify(lock, null, 2)}\n`);
process.stdout.write(`${missing.length} entries added to package-lock.json\n`);

/** Whether a package is there for one that stands at `path`: beside it, or in a folder above (Node's way to find it). */
function isLocked(path, name) {
  for (let at = path; ; at = at.slice(0, Math.max(0, at.lastIndexOf('/node_modules/')))) {
    if (lock.packages[`${at === '' ? '' : `${at}/`}node_modules/${name}`] !== undefined) return true;
    if (at === '' || !at.includes('node_modules/')) return false;
  }
}
