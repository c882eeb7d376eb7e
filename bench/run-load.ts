import { fileURLToPath } from 'node:url';
import type { Load, LoadFigures } from './load.ts';
import type { Processes } from './processes.ts';

const PROGRAM = fileURLToPath(import.meta.resolve('./load.ts'));

/** Runs the load generator as a process of its own. @param url of one path; `paths` are in place of it where they are given. */
export async function runLoad(
  processes: Processes,
  url: string,
  load: Omit<Load, 'host' | 'port' | 'paths' | 'method'> & Partial<Pick<Load, 'paths' | 'method'>>,
): Promise<LoadFigures> {
  const { hostname: host, port, pathname } = new URL(url);
  const whole: Load = { method: 'GET', paths: [pathname], ...load, host, port: Number(port) };
  const { stdout } = await processes.run([process.execPath, PROGRAM, JSON.stringify(whole)]);
  return JSON.parse(stdout) as LoadFigures;
}
