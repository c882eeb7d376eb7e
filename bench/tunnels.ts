import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { findFreePort } from '../test/support/nginx.ts';
import { startFrp } from './frp.ts';
import type { Processes } from './processes.ts';
import { findProgram } from './programs.ts';

/** What a tunnel gets to start with. */
interface TunnelSetup {
  readonly processes: Processes;
  readonly directory: string;
  /** The port on loopback that it makes reachable. */
  readonly upstream: number;
  /** The port on loopback where it is to be reached. */
  readonly port: number;
}

/** A program that people run in place of relay: it makes a server reachable through another machine. */
export interface Tunnel {
  readonly name: string;
  /** @returns whether it runs; false where it is not installed. */
  start(setup: TunnelSetup): Promise<boolean>;
}

/** Whether a server answers through a tunnel. */
const answers = async (port: number): Promise<boolean> => {
  try {
    await (await fetch(`http://127.0.0.1:${port}/`)).body?.cancel();
    return true;
  } catch {
    return false;
  }
};

/** A control port speaks no HTTP, so that it is not asked: the client tries until it is there. */
const atOnce = (): boolean => true;

/** A tunnel of one program in two roles, by their arguments. */
function ofProgram(
  name: string,
  prepare: (setup: TunnelSetup & { control: number }) => Promise<{ server: string[]; client: string[] }>,
): Tunnel {
  return {
    name,
    async start(setup) {
      const program = findProgram(name);
      if (program === undefined) return false;
      const { server, client } = await prepare({ ...setup, control: await findFreePort() });
      await setup.processes.start([program, ...server], atOnce);
      await setup.processes.start([program, ...client], () => answers(setup.port));
      return true;
    },
  };
}

const rathole = ofProgram('rathole', async ({ directory, upstream, port, control }) => {
  const [server, client] = [join(directory, 'rathole-server.toml'), join(directory, 'rathole-client.toml')];
  const token = 'default_token = "bench"';
  await writeFile(
    server,
    `[server]\nbind_addr = "127.0.0.1:${control}"\n${token}\n[server.services.site]\nbind_addr = "127.0.0.1:${port}"\n`,
  );
  await writeFile(
    client,
    `[client]\nremote_addr = "127.0.0.1:${control}"\n${token}\n[client.services.site]\nlocal_addr = "127.0.0.1:${upstream}"\n`,
  );
  return { server: ['--server', server], client: ['--client', client] };
});

const chisel = ofProgram('chisel', ({ upstream, port, control }) =>
  Promise.resolve({
    server: ['server', '--host', '127.0.0.1', '--port', String(control), '--reverse'],
    client: ['client', `http://127.0.0.1:${control}`, `R:127.0.0.1:${port}:127.0.0.1:${upstream}`],
  }),
);

const wstunnel = ofProgram('wstunnel', ({ upstream, port, control }) =>
  Promise.resolve({
    server: ['server', `ws://127.0.0.1:${control}`],
    client: ['client', '-R', `tcp://127.0.0.1:${port}:127.0.0.1:${upstream}`, `ws://127.0.0.1:${control}`],
  }),
);

/** bore's control port cannot be chosen, and its client gives up at once where nobody listens. */
const bore: Tunnel = {
  name: 'bore',
  async start({ processes, upstream, port }) {
    const program = findProgram('bore');
    if (program === undefined) return false;
    const only = ['--min-port', String(port), '--max-port', String(port), '--bind-addr', '127.0.0.1'];
    await processes.start([program, 'server', ...only], (output) => output.includes('listening'));
    const target = ['local', String(upstream), '--to', '127.0.0.1', '--port', String(port)];
    await processes.start([program, ...target], () => answers(port));
    return true;
  },
};

/** frp at its defaults encrypts and multiplexes. */
const frp: Tunnel = {
  name: 'frp',
  start: async ({ processes, directory, upstream, port }) =>
    (await startFrp(processes, directory, { port: upstream }, port)) !== undefined,
};

export const TUNNELS: readonly Tunnel[] = [rathole, bore, chisel, wstunnel, frp];
