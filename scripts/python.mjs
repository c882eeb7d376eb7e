import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { cacheDirectory, isExecutable, lastLines } from './test-cache.mjs';
import { findProgram } from './test-programs.mjs';

/**
 * What the tests read datasets with. DuckDB fetches its `httpfs` from a host of its own, unless a package brings it: one that
 * DuckDB has signed, for the same version.
 */
const CLIENTS = [
  'aiohttp==3.14.5',
  'duckdb==1.5.5',
  'duckdb-extension-httpfs==1.5.5',
  'fsspec==2026.9.0',
  'httpx==0.28.1',
  'numpy==2.4.6',
  'pandas==3.1.1',
  'pyarrow==26.0.1',
];

/** What makes requests from an OpenAPI description and holds the answers against it. */
const SCHEMATHESIS = ['schemathesis==4.32.5'];

const run = promisify(execFile);

/**
 * The path of a Python that has the libraries which the tests read datasets with, some 450 MB.
 *
 * @param {(line: string) => void} [log] told what is happening when it takes long.
 * @returns {Promise<string>}
 * @throws {Error} that says what is missing when they cannot be installed.
 */
export const ensurePython = (log) => ensureEnvironment('python', CLIENTS, log);

/**
 * The path of a Python that has Schemathesis (`-m schemathesis.cli`).
 *
 * @param {(line: string) => void} [log] told what is happening when it takes long.
 * @returns {Promise<string>}
 * @throws {Error} that says what is missing when it cannot be installed.
 */
export const ensureSchemathesis = (log) => ensureEnvironment('schemathesis', SCHEMATHESIS, log);

/**
 * Installs packages the first time into a virtual environment that is kept. Safe when two run at once: each makes its own, and
 * the first stays.
 */
async function ensureEnvironment(name, requirements, log = () => undefined) {
  const system = await findProgram('python3');
  // An environment is good for the Python that made it.
  const { stdout: version } = await run(system, ['-c', 'import sys; print(sys.executable, sys.version)']);
  const digest = createHash('sha256')
    .update([version, ...requirements].join('\n'))
    .digest('hex');
  const directory = join(cacheDirectory(), `${name}-${digest.slice(0, 16)}`);
  const python = join(directory, 'bin/python');
  if (await isExecutable(python)) return python;
  log(`installing Python packages into ${directory}, once (up to a minute)`);
  await mkdir(cacheDirectory(), { recursive: true });
  const temporary = await mkdtemp(join(cacheDirectory(), `${name}-build-`));
  try {
    const options = { maxBuffer: 64 * 1024 * 1024 };
    await run(system, ['-m', 'venv', temporary], options);
    const pip = ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '--only-binary', ':all:'];
    await run(join(temporary, 'bin/python'), [...pip, ...requirements], options);
    await rename(temporary, directory).catch(async (error) => {
      if (!(await isExecutable(python))) throw error;
    });
  } catch (cause) {
    throw new Error(
      `Python packages that the tests need (${requirements[0]} …) could not be installed, with Python 3.11 or later, its venv and pip: ${lastLines(cause)}`,
      { cause },
    );
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
  return python;
}

const say = (line) => process.stderr.write(`${line}\n`);

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  try {
    for (const ensure of [ensurePython, ensureSchemathesis]) process.stdout.write(`${await ensure(say)}\n`);
  } catch (error) {
    process.stderr.write(`${error.message}\n`);
    process.exitCode = 1;
  }
}
