import { existsSync, readFileSync } from 'node:fs';

/** The version of relay, from the `package.json` above this file, in the sources as in the built package. */
export function readVersion(): string {
  const manifest = ['../package.json', '../../package.json']
    .map((path) => new URL(path, import.meta.url))
    .find((url) => existsSync(url));
  return manifest ? (JSON.parse(readFileSync(manifest, 'utf8')) as { version: string }).version : '0.0.0';
}
