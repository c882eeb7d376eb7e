import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { findProgram } from '../../scripts/test-programs.mjs';
import { makeTempDir } from './router.ts';

/** How a proxy runs. */
interface TinyproxyOptions {
  readonly address: string;
  readonly port: number;
  readonly user: string;
  readonly password: string;
  /** The ports that it opens tunnels to. Default: all. */
  readonly connectPorts?: readonly number[];
  /** Words before the program, such as those that run it in another network. */
  readonly launcher: readonly string[];
}

/** A real proxy, and each request that it had, as it logs them. */
export interface Tinyproxy extends AsyncDisposable {
  readonly requests: readonly string[];
}

/** Starts a tinyproxy that asks for credentials. It listens when this resolves. */
export async function startTinyproxy(options: TinyproxyOptions): Promise<Tinyproxy> {
  const { address, port, user, password, connectPorts = [], launcher } = options;
  const tinyproxy = await findProgram('tinyproxy');
  const directory = await makeTempDir();
  const file = join(directory.path, 'tinyproxy.conf');
  const lines = [
    `Listen ${address}`,
    `Port ${port}`,
    'Timeout 600',
    `BasicAuth ${user} ${password}`,
    ...connectPorts.map((each) => `ConnectPort ${each}`),
  ];
  await writeFile(file, `${lines.join('\n')}\n`);
  const [program, ...words] = [...launcher, tinyproxy, '-d', '-c', file];
  const child = spawn(program, words, { stdio: ['ignore', 'pipe', 'inherit'] });
  const exited = once(child, 'exit');
  const requests: string[] = [];
  const ready = Promise.withResolvers<void>();
  const said: string[] = [];
  createInterface({ input: child.stdout }).on('line', (line) => {
    said.push(line);
    if (line.includes('Accepting connections')) ready.resolve();
    const request = /Request \(file descriptor \d+\): (.*)$/.exec(line)?.[1];
    if (request !== undefined) requests.push(request);
  });
  void exited.then(() => ready.reject(new Error(`tinyproxy ended: ${said.join('\n')}`)));
  try {
    await ready.promise;
  } catch (error) {
    await directory[Symbol.asyncDispose]();
    throw error;
  }
  return {
    requests,
    [Symbol.asyncDispose]: async () => {
      child.kill('SIGKILL');
      await exited;
      await directory[Symbol.asyncDispose]();
    },
  };
}
