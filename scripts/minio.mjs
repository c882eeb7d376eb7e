import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { cacheDirectory, isExecutable, lastLines } from './test-cache.mjs';

/** The store that the tests run against. Upstream gives out source only, so it is built once and kept. */
const VERSION = 'v0.0.0-20260212201848-7aac2a2c5b7c';
const MODULE = 'github.com/minio/minio';

const run = promisify(execFile);

/**
 * The path of a MinIO binary. Builds it the first time, which takes about five minutes and 1.5 GB of memory. Safe when two
 * run at once: each builds for itself, and the last one's binary stays.
 *
 * @param {(line: string) => void} [log] told what is happening when it takes long.
 * @returns {Promise<string>}
 * @throws {Error} that says what is missing when it cannot be built.
 */
export async function ensureMinio(log = () => undefined) {
  const directory = join(cacheDirectory(), `minio-${VERSION}`);
  const binary = join(directory, 'minio');
  if (await isExecutable(binary)) return binary;
  await checkGo();
  log(`building MinIO ${VERSION} into ${directory}, once (about 5 minutes)`);
  await mkdir(directory, { recursive: true });
  // On the same file system, so that the rename is atomic.
  const temporary = await mkdtemp(join(directory, 'build-'));
  try {
    const env = { ...process.env, GOBIN: temporary, CGO_ENABLED: '0', GOFLAGS: '' };
    await run('go', ['install', '-trimpath', `${MODULE}@${VERSION}`], { env, maxBuffer: 64 * 1024 * 1024 });
    await rename(join(temporary, 'minio'), binary);
  } catch (cause) {
    throw new Error(`MinIO, which the tests of the object store need, could not be built: ${lastLines(cause)}`, {
      cause,
    });
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
  return binary;
}

async function checkGo() {
  try {
    await run('go', ['version']);
  } catch (cause) {
    throw new Error(
      'MinIO, which the tests of the object store need, is not built yet, and Go is missing that would build it: install Go (https://go.dev/dl/) and run the command again',
      { cause },
    );
  }
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  try {
    process.stdout.write(`${await ensureMinio((line) => process.stderr.write(`${line}\n`))}\n`);
  } catch (error) {
    process.stderr.write(`${error.message}\n`);
    process.exitCode = 1;
  }
}
