import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { cacheDirectory, isExecutable, lastLines } from './minio.mjs';

/** What makes requests from an OpenAPI description and holds the answers against it. It is a package of Python. */
const VERSION = '4.32.5';

const run = promisify(execFile);

/**
 * The path of a Python that has Schemathesis (`-m schemathesis.cli`). Installs it the first time, beside the tests' other
 * tools. Safe when two run at once: each installs for itself, and the first one's stays.
 *
 * @returns {Promise<string>}
 * @throws {Error} that says what is missing when it cannot be installed.
 */
export async function ensureSchemathesis() {
  const directory = join(cacheDirectory(), `schemathesis-${VERSION}`);
  const python = join(directory, 'bin', 'python');
  if (await isExecutable(python)) return python;
  await mkdir(cacheDirectory(), { recursive: true });
  const temporary = await mkdtemp(`${directory}-`);
  try {
    await run('python3', ['-m', 'venv', temporary]);
    const install = ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', `schemathesis==${VERSION}`];
    await run(join(temporary, 'bin', 'python'), install);
    await rename(temporary, directory).catch(async (error) => {
      if (!(await isExecutable(python))) throw error;
    });
  } catch (cause) {
    throw new Error(
      `Schemathesis, which the test of the OpenAPI description needs, could not be installed (with Python 3.10 or later, its venv and pip): ${lastLines(cause)}`,
      { cause },
    );
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
  return python;
}
