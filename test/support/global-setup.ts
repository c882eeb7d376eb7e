import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { ensureMinio } from '../../scripts/minio.mjs';
import { ensurePython, ensureSchemathesis } from '../../scripts/python.mjs';
import { ensureDuckdbWasm, ensureRuntimes } from '../../scripts/runtimes.mjs';
import { ensurePrograms } from '../../scripts/test-programs.mjs';

/**
 * Builds `dist/` where the sources are newer, since end-to-end tests run what users run, `bin/relay.js`; installs
 * the proxies that some run behind, the programs that read datasets, with Python's libraries, and what the library runs on;
 * and builds MinIO the first time, which takes longer than a test may.
 */
export default async function setup(): Promise<void> {
  const script = join(import.meta.dirname, '../../scripts/setup.mjs');
  const { status } = spawnSync(process.execPath, [script, '--build-only'], { stdio: ['ignore', 2, 2] });
  if (status !== 0) throw new Error('the build failed, see above');
  // Where they cannot be had, the tests that need them fail, and say what is missing.
  const log = (text: string): void => void process.stderr.write(`${text}\n`);
  await ensurePrograms(log).catch(() => {});
  await ensurePython(log).catch(() => {});
  await ensureSchemathesis(log).catch(() => {});
  await ensureRuntimes(log).catch(() => {});
  await ensureDuckdbWasm(log).catch(() => {});
  await ensureMinio(log).catch(() => {});
}
