import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { GIB, makeRandom, MIB } from '../data.ts';
import { alternate, cpuPerGib, getOnce, withCpu } from '../measure.ts';
import { startNginxPair } from '../nginx.ts';
import { startPair } from '../relay.ts';
import { nginxRival, type Scenario } from '../scenario.ts';

/** One large file over plain HTTP: how fast, and at what cost. */
export const near: Scenario = {
  name: 'near',
  async run({ runs, isQuick, directory, processes }) {
    const dataDir = join(directory, 'data');
    await mkdir(dataDir);
    const file = await makeRandom(dataDir, 'large.bin', isQuick ? 256 * MIB : 2 * GIB);
    const pair = await startPair(processes, { directory, dataDir });
    const nginx = await startNginxPair(processes, directory, dataDir);
    const measure = async (url: string, pids: readonly number[]) => {
      const { result, cpu } = await withCpu(pids, () => getOnce(processes, url, file));
      return { rate: result.megabytesPerSecond, cpu: cpuPerGib(cpu, file.bytes) };
    };
    const { relay, rival } = await alternate(
      runs,
      () => measure(pair.urlOf(file.name), pair.pids),
      nginx && (() => measure(`${nginx.url}/${file.name}`, nginx.pids)),
    );
    return [
      {
        name: 'near: rate',
        unit: 'MB/s',
        target: { of: 'ratio', atLeast: 1 },
        relay: relay.map(({ rate }) => rate),
        rival: nginxRival(
          nginx,
          rival.map(({ rate }) => rate),
        ),
      },
      {
        name: 'near: CPU of the servers',
        unit: 's/GiB',
        target: { of: 'ratio', atMost: 0.8 },
        relay: relay.map(({ cpu }) => cpu),
        rival: nginxRival(
          nginx,
          rival.map(({ cpu }) => cpu),
        ),
      },
    ];
  },
};
