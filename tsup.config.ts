import { defineConfig } from 'tsup';
import manifest from './package.json' with { type: 'json' };

export default defineConfig({
  entry: { cli: 'src/cli/main.ts', index: 'src/index.ts', files: 'src/files.ts' },
  format: 'esm',
  target: 'node22',
  platform: 'node',
  splitting: true,
  sourcemap: true,
  clean: true,
  // `node:sqlite` has no name without its prefix.
  removeNodeProtocol: false,
  // Declarations come from tsc: TypeScript 7 has no compiler API for tsup to call.
  dts: false,
  define: { RELAY_VERSION: JSON.stringify(manifest.version) },
});
