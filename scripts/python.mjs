import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { access, constants, mkdir, mkdtemp, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { cacheDirectory, lastLines } from './test-cache.mjs';
import { findProgram } from './test-programs.mjs';

/**
 * What the tests read datasets with. DuckDB fetches its `httpfs` from a host of its own, unless a package brings it: one that
 * DuckDB has signed, for the same version.
 */
const REQUIREMENTS = [
  'aiohttp==3.14.5',
  'duckdb==1.5.5',
  'duckdb-extension-httpfs==1.5.5',
  'fsspec==2026.9.0',
  'httpx==0.28.1',
  'numpy==2.4.6',
  'pandas==3.1.1',
  'pyarrow==26.0.1',
];

const run = promisify(execFile);

/**
 * The path of a Python that has the libraries which the tests read datasets with. Installs them the first time, some 450 MB
 * and a minute, into a virtual environment that is kept. Safe when two run at once: each makes its own, and the first stays.
 *
 * @param {(line: string) => void} [log] told what is happening when it takes long.
 * @returns {Promise<string>}
 * @throws {Error} that says what is missing when they cannot be installed.
 */
export async function ensurePython(log = () => undefined) {
  const system = await findProgram('python3');
  // An environment is good for the Python that made it.
  const { stdout: version } = await run(system, ['-c', 'import sys; print(sys.executable, sys.version)']);
  const digest = createHash('sha256')
    .update([version, ...REQUIREMENTS].join('\n'))
    .digest('hex');
  const directory = join(cacheDirectory(), `python-${digest.slice(0, 16)}`);
  const python = join(directory, 'bin/python');
  if (await isExecutable(python)) return python;
  log(`installing Python libraries into ${directory}, once (about a minute)`);
  await mkdir(cacheDirectory(), { recursive: true });
  const temporary = await mkdtemp(join(cacheDirectory(), 'python-build-'));
  try {
    const options = { maxBuffer: 64 * 1024 * 1024 };
    await run(system, ['-m', 'venv', temporary], options);
    const pip = ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '--only-binary', ':all:'];
    await run(join(temporary, 'bin/python'), [...pip, ...REQUIREMENTS], options);
    await rename(temporary, directory).catch(async (error) => {
      if (!(await isExecutable(python))) throw error;
    });
  } catch (cause) {
    throw new Error(
      `the Python libraries that these tests read datasets with could not be installed: ${lastLines(cause)}`,
      { cause },
    );
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
  return python;
}

async function isExecutable(path) {
  try {
    await access(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  try {
    process.stdout.write(`${await ensurePython((line) => process.stderr.write(`${line}\n`))}\n`);
  } catch (error) {
    process.stderr.write(`${error.message}\n`);
    process.exitCode = 1;
  }
}
