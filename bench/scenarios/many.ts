import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { GIB, KIB, makeRandom } from '../data.ts';
import { alternate } from '../measure.ts';
import { startNginxPair } from '../nginx.ts';
import type { Processes } from '../processes.ts';
import { startPair } from '../relay.ts';
import { runLoad } from '../run-load.ts';
import { nginxRival, type Scenario } from '../scenario.ts';

const TRANSFERS = 50;
/** Until the transfers have spread over the machine. */
const SETTLE_MS = 1000;

/** How long a small request takes while large transfers run. */
export const many: Scenario = {
  name: 'many',
  async run({ runs, isQuick, directory, processes }) {
    const dataDir = join(directory, 'data');
    await mkdir(dataDir);
    const whole = await makeRandom(dataDir, 'small.bin', KIB);
    // Longer than it is measured, whatever the rate.
    const large = await makeRandom(dataDir, 'large.bin', 2 * GIB);
    const nginx = await startNginxPair(processes, directory, dataDir);
    const load = { bytes: KIB, clients: 1, warmUpMs: 200, ms: isQuick ? 2000 : 10_000 };
    const measure = async (small: string, big: string): Promise<number> => {
      const transfers = await startTransfers(processes, directory, big);
      const { p99Ms } = await runLoad(processes, small, load);
      await processes.stop(transfers);
      return p99Ms;
    };
    const pair = await startPair(processes, { directory, dataDir });
    const { relay, rival } = await alternate(
      runs,
      () => measure(pair.urlOf(whole.name), pair.urlOf(large.name)),
      nginx && (() => measure(`${nginx.url}/${whole.name}`, `${nginx.url}/${large.name}`)),
    );
    return [
      {
        name: `many: 1 KiB beside ${TRANSFERS} transfers, p99`,
        unit: 'ms',
        target: { of: 'relay', atMost: 20 },
        relay,
        rival: nginxRival(nginx, rival),
      },
    ];
  },
};

/** Begins transfers that run until they are stopped. */
async function startTransfers(processes: Processes, directory: string, url: string) {
  const file = join(directory, 'transfers.curl');
  await writeFile(file, `url = "${url}"\noutput = "/dev/null"\n`.repeat(TRANSFERS));
  const curl = ['curl', '-sS', '--parallel', '--parallel-immediate', '--parallel-max', String(TRANSFERS), '-K', file];
  const running = await processes.start(curl, () => true);
  await sleep(SETTLE_MS);
  return running;
}
