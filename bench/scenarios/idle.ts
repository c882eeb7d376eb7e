import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { KIB, makeRandom } from '../data.ts';
import { readResidentMib } from '../measure.ts';
import type { Running } from '../processes.ts';
import { startRouter } from '../relay.ts';
import { runLoad } from '../run-load.ts';
import type { Scenario } from '../scenario.ts';

const PROGRAM = fileURLToPath(import.meta.resolve('../connectors.ts'));
const PROCESSES = 2;
/** Of the connectors that are asked, spread over all. */
const ASKED = 500;
/** Until nothing is left of the connecting. */
const SETTLE_MS = 3000;
const LOOK_MS = 100;
/** All of them have one address here, which is not the many of one that the default is for. */
const ALL_FROM_ONE = ['--max-connections-per-address', '20000'];

/** Connectors that wait for commands: what they cost the router, how fast a command comes through, and how soon they are back. */
export const idle: Scenario = {
  name: 'idle',
  async run({ runs, isQuick, directory, processes, say }) {
    const count = isQuick ? 500 : 10_000;
    const dataDir = join(directory, 'data');
    await mkdir(dataDir);
    const file = await makeRandom(dataDir, 'small.bin', KIB);
    const memory: number[] = [];
    const roundTrip: number[] = [];
    const back: number[] = [];
    for (let run = 0; run < runs; run++) {
      const own = join(directory, `run-${run}`);
      await mkdir(own);
      const router = await startRouter(processes, { directory: own, args: ALL_FROM_ONE });
      const share = Math.ceil(count / PROCESSES);
      const crowds: Running[] = [];
      for (let first = 0; first < count; first += share) {
        const size = Math.min(share, count - first);
        const command = [process.execPath, PROGRAM, router.url, dataDir, String(first), String(size)];
        crowds.push(await processes.start(command, (output) => countOnline(output) === size, { timeoutMs: 300_000 }));
      }
      say(`${count} connectors are connected`);
      await sleep(SETTLE_MS);
      memory.push(readResidentMib(router.pid));
      const step = Math.max(1, Math.floor(count / ASKED));
      const paths = Array.from({ length: Math.min(ASKED, count) }, (_, at) => pathOf(at * step, file.name));
      const load = { method: 'HEAD', paths, bytes: KIB, clients: 1, warmUpMs: 500, ms: isQuick ? 1000 : 5000 } as const;
      roundTrip.push((await runLoad(processes, router.url, load)).p99Ms);

      const port = Number(new URL(router.url).port);
      await processes.stop(router);
      const begun = performance.now();
      const next = await startRouter(processes, { directory: own, port, args: ALL_FROM_ONE });
      const online = (): number => crowds.reduce((sum, crowd) => sum + countOnline(crowd.readOutput()), 0);
      // Those that have not noticed yet that the router went still count as connected.
      let wasAway = false;
      for (let now = online(); !(wasAway && now === count); now = online()) {
        wasAway ||= now < count;
        if (performance.now() - begun > 300_000) throw new Error(`only ${now} of ${count} connectors came back`);
        await Promise.race([sleep(LOOK_MS), processes.failed]);
      }
      back.push((performance.now() - begun) / 1000);
      for (const process of [...crowds, next]) await processes.stop(process);
    }
    const name = `idle: ${count} connectors`;
    return [
      { name: `${name}, memory`, unit: 'MiB', target: { of: 'relay', atMost: 250 }, relay: memory },
      { name: `${name}, command p99`, unit: 'ms', target: { of: 'relay', atMost: 50 }, relay: roundTrip },
      { name: `${name}, back after a restart`, unit: 's', target: { of: 'relay', atMost: 60 }, relay: back },
    ];
  },
};

/** The last count that `connectors.ts` printed. */
const countOnline = (output: string): number => Number(/online (\d+)\n$/.exec(output.slice(-32))?.[1] ?? 0);

function pathOf(number: number, name: string): string {
  const digits = number.toString(16).padStart(12, '0');
  return `/connectors/${digits}/datasets/${name}`;
}
