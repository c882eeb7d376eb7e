import { readFileSync } from 'node:fs';

/** The version of relay, which the build writes in place of this name. */
declare const RELAY_VERSION: string | undefined;

/** The version of relay: as built, and from `package.json` where the sources run as they are. */
export function readVersion(): string {
  if (typeof RELAY_VERSION === 'string') return RELAY_VERSION;
  const manifest = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(manifest) as { version: string }).version;
}
