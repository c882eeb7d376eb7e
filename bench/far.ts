import type { Processes, Running } from './processes.ts';
import { findProgram, isExecutable } from './programs.ts';

/** One end of the line. */
interface Place {
  /** What runs a command there. */
  readonly through: readonly string[];
  readonly host: string;
}

/** Two network namespaces joined by a line. */
export interface FarNetwork {
  readonly cloud: Place;
  readonly site: Place;
  /** Takes it down, once nothing runs there any more. */
  stop(): Promise<void>;
}

/** The line between them. */
export interface LineOptions {
  /** 10^6 bits a second in each direction. */
  readonly rateMbit: number;
  /** Percent of the packets, in each direction. Default none. */
  readonly lossPercent?: number;
  /** Lets windows grow to this, in place of what Linux ships. */
  readonly windowBytes?: number;
}

/** Round trip of every line, in ms. */
export const ROUND_TRIP_MS = 80;

/** Why there can be no far network here. @returns undefined where there can. */
export function whyNotFar(program: string): string | undefined {
  if (!isExecutable(program)) return 'no program that makes a far network (--far)';
  if (process.getuid?.() !== 0) return 'a far network needs root';
  if (findProgram('ip') === undefined) return 'a far network needs iproute2';
  return undefined;
}

/** Starts the program and waits until the line is up. */
export async function startFar(
  processes: Processes,
  program: string,
  { rateMbit, lossPercent = 0, windowBytes }: LineOptions,
): Promise<FarNetwork> {
  const line = ['--delay-ms', ROUND_TRIP_MS / 2, '--rate-mbit', rateMbit, '--loss', lossPercent].map(String);
  // It takes the network down when its command ends, which is when its input does.
  const script = 'echo "far $FAR_CLOUD $FAR_SITE $FAR_CLOUD_ADDR $FAR_SITE_ADDR"; read line';
  const running = await processes.start(
    [program, ...line, '--', 'sh', '-c', script],
    (output) => ANNOUNCEMENT.test(output),
    { endSignal: 'SIGTERM', holdsInput: true },
  );
  const network = describe(processes, running);
  if (windowBytes !== undefined) {
    for (const { through } of [network.cloud, network.site]) {
      const set = `for way in r w; do echo "4096 131072 ${windowBytes}" > /proc/sys/net/ipv4/tcp_\${way}mem; done`;
      await processes.run(['sh', '-c', set], { through });
    }
  }
  return network;
}

const ANNOUNCEMENT = /^far (\S+) (\S+) (\S+) (\S+)\n/m;

function describe(processes: Processes, running: Running): FarNetwork {
  const [, cloud = '', site = '', cloudHost = '', siteHost = ''] = ANNOUNCEMENT.exec(running.readOutput()) ?? [];
  return {
    cloud: { through: ['ip', 'netns', 'exec', cloud], host: cloudHost },
    site: { through: ['ip', 'netns', 'exec', site], host: siteHost },
    stop: () => processes.stop(running),
  };
}
