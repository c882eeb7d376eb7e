import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { findProgram } from '../../scripts/test-programs.mjs';
import { run, type RunResult } from './processes.ts';

/** What a machine is made of. */
interface MachineOptions {
  readonly name: string;
  /** The network namespace that it stands in, as `ip netns` names it. */
  readonly network: string;
  /** A file that is its /etc/hosts. */
  readonly hosts: string;
  /** A directory of this machine that is its `/root/work`. */
  readonly work: string;
}

/** A machine of its own, with the programs of this one, on which systemd runs. */
export interface Machine extends AsyncDisposable {
  /** Runs a script with `sh -eu` as root in `/root/work`. */
  sh(script: string): Promise<RunResult>;
}

/**
 * Lays a file system of the machine's own over that of this machine, and has the container manager boot it. Its layer is in
 * memory, since an overlay cannot have a directory and what is below it as its layers.
 */
const BOOT = `
set -e
layers=$1 nspawn=$2
shift 2
mkdir "$layers/upper" "$layers/scratch" "$layers/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$layers/upper,workdir=$layers/scratch" "$layers/root"
exec "$nspawn" --directory="$layers/root" "$@"`;

/** Boots a machine. What it needs (Linux, root, systemd-nspawn) is for the caller to look for. It is up when this resolves. */
export async function bootMachine({ name, network, hosts, work }: MachineOptions): Promise<Machine> {
  const layers = await mkdtemp('/dev/shm/relay-machine-');
  // What a machine runs at that point is what relay's units need, and not what else this one runs.
  const nspawn = [
    await findProgram('systemd-nspawn'),
    `--machine=${name}-${process.pid}`,
    `--network-namespace-path=/run/netns/${network}`,
    `--bind-ro=${hosts}:/etc/hosts`,
    `--bind=${work}:/root/work`,
    '--boot',
    '--register=no',
    '--keep-unit',
    '--console=read-only',
  ];
  const words = ['--mount', '--propagation', 'private', 'sh', '-c', BOOT, 'sh', layers, ...nspawn];
  const child = spawn('/usr/bin/unshare', [...words, 'systemd.unit=basic.target'], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const exited = once(child, 'exit');
  const up = Promise.withResolvers<void>();
  const said: string[] = [];
  for (const input of [child.stdout, child.stderr]) {
    createInterface({ input }).on('line', (line) => {
      said.push(line);
      if (line.includes('Reached target') && line.includes('basic.target')) up.resolve();
    });
  }
  void exited.then(() => up.reject(new Error(`the machine ${name} ended: ${said.join('\n')}`)));
  const stop = async (): Promise<void> => {
    // With its first process, all of a machine ends.
    const first = await findFirst(child.pid as number);
    process.kill(first ?? (child.pid as number), 'SIGKILL');
    await exited;
    await rm(layers, { recursive: true, force: true });
  };
  try {
    await up.promise;
  } catch (error) {
    await rm(layers, { recursive: true, force: true });
    throw error;
  }
  const first = String(await findFirst(child.pid as number));
  const inside = ['--target', first, '--mount', '--uts', '--ipc', '--net', '--pid', '--cgroup', '--root', '--wd'];
  const env = { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', HOME: '/root', LANG: 'C.UTF-8' };
  return {
    sh: (script) => run('nsenter', [...inside, 'sh', '-euc', `cd /root/work\n${script}`], { env }),
    [Symbol.asyncDispose]: stop,
  };
}

/** The process that is the first of the machine. */
async function findFirst(manager: number): Promise<number | undefined> {
  const children = await readFile(join('/proc', `${manager}/task/${manager}/children`), 'utf8').catch(() => '');
  const first = children.trim().split(' ')[0];
  return first === undefined || first === '' ? undefined : Number(first);
}
