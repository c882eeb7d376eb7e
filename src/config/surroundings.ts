import type { Surroundings } from './resolve.ts';

/** What a process was started in. Nothing else looks at the environment. */
export function processSurroundings(): Surroundings {
  return { env: process.env, cwd: process.cwd() };
}
