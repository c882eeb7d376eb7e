import { defineConfig } from 'tsup';
import manifest from './package.json' with { type: 'json' };

/** All of relay, with what it depends on, in one script for `scripts/build-binary.mjs`. */
export default defineConfig({
  entry: { relay: 'src/cli/binary.ts' },
  outDir: 'dist-bin',
  // CommonJS: only of this does Node.js keep compiled code in the file, which halves the time to start.
  format: 'cjs',
  target: 'node26',
  platform: 'node',
  noExternal: [/./],
  splitting: false,
  metafile: true,
  clean: true,
  removeNodeProtocol: false,
  dts: false,
  define: { RELAY_VERSION: JSON.stringify(manifest.version), 'import.meta.url': 'ownUrl' },
  banner: { js: "const ownUrl = require('node:url').pathToFileURL(process.execPath).href;" },
});
