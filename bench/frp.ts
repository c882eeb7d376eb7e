import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { findFreePort } from '../test/support/nginx.ts';
import type { Processes } from './processes.ts';
import { findProgram } from './programs.ts';

/**
 * Starts frp at its defaults, which encrypt and multiplex between its two halves, before a server on loopback.
 * @returns where the server can be reached through it; undefined where frp is not installed.
 */
export async function startFrp(
  processes: Processes,
  directory: string,
  upstream: { readonly port: number },
  /** Where it is to be reached; a free port by default. */
  chosen?: number,
): Promise<string | undefined> {
  const [frps, frpc] = [findProgram('frps'), findProgram('frpc')];
  if (frps === undefined || frpc === undefined) return undefined;
  const [controlPort, port] = [await findFreePort(), chosen ?? (await findFreePort())];
  const server = join(directory, 'frps.toml');
  await writeFile(server, `bindAddr = "127.0.0.1"\nproxyBindAddr = "127.0.0.1"\nbindPort = ${controlPort}\n`);
  const client = join(directory, 'frpc.toml');
  const proxy = `name = "site"\ntype = "tcp"\nlocalIP = "127.0.0.1"\nlocalPort = ${upstream.port}\nremotePort = ${port}\n`;
  await writeFile(client, `serverAddr = "127.0.0.1"\nserverPort = ${controlPort}\n\n[[proxies]]\n${proxy}`);
  await processes.start([frps, '-c', server], (output) => output.includes('started successfully'));
  await processes.start([frpc, '-c', client], (output) => output.includes('start proxy success'));
  return `http://127.0.0.1:${port}`;
}
