import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { ensureMinio } from '../../scripts/minio.mjs';

/**
 * Builds `dist/` where the sources are newer, since end-to-end tests run what users run, `bin/relay.js`; and MinIO the first
 * time, which takes longer than a test may.
 */
export default async function setup(): Promise<void> {
  const script = join(import.meta.dirname, '../../scripts/setup.mjs');
  const { status } = spawnSync(process.execPath, [script, '--build-only'], { stdio: ['ignore', 2, 2] });
  if (status !== 0) throw new Error('the build failed, see above');
  // Where it cannot be built, the tests that need it fail, and say what is missing.
  await ensureMinio((text: string) => process.stderr.write(`${text}\n`)).catch(() => {});
}
