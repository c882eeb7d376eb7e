import { spawnSync } from 'node:child_process';
import { join } from 'node:path';

/** Builds `dist/` where the sources are newer: end-to-end tests run what users run, `bin/relay.js`. */
export default function setup(): void {
  const script = join(import.meta.dirname, '../../scripts/setup.mjs');
  const { status } = spawnSync(process.execPath, [script, '--build-only'], { stdio: ['ignore', 2, 2] });
  if (status !== 0) throw new Error('the build failed, see above');
}
