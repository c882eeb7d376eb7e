import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { KIB, makeRandom, MIB } from '../data.ts';
import { alternate } from '../measure.ts';
import { startNginxPair } from '../nginx.ts';
import { startPair } from '../relay.ts';
import { runLoad } from '../run-load.ts';
import { type Line, nginxRival, type Scenario } from '../scenario.ts';

const CLIENTS = 32;

/** Many small answers: datasets of 1 KiB, and ranges of 1 KiB of a large one. */
export const small: Scenario = {
  name: 'small',
  async run({ runs, isQuick, directory, processes }) {
    const dataDir = join(directory, 'data');
    await mkdir(dataDir);
    const whole = await makeRandom(dataDir, 'small.bin', KIB);
    const large = await makeRandom(dataDir, 'large.bin', isQuick ? 16 * MIB : 256 * MIB);
    const pair = await startPair(processes, { directory, dataDir });
    const nginx = await startNginxPair(processes, directory, dataDir);
    const load = { bytes: KIB, clients: CLIENTS, warmUpMs: isQuick ? 500 : 2000, ms: isQuick ? 1000 : 5000 };
    const kinds = [
      { name: 'small: 1 KiB datasets, 32 clients', file: whole, load },
      {
        name: 'small: 1 KiB ranges, 32 clients',
        file: large,
        load: { ...load, range: { bytes: KIB, of: large.bytes } },
      },
    ];
    const lines: Line[] = [];
    for (const kind of kinds) {
      const measure = async (url: string): Promise<number> =>
        (await runLoad(processes, url, kind.load)).requestsPerSecond;
      const { relay, rival } = await alternate(
        runs,
        () => measure(pair.urlOf(kind.file.name)),
        nginx && (() => measure(`${nginx.url}/${kind.file.name}`)),
      );
      lines.push({
        name: kind.name,
        unit: '/s',
        target: { of: 'ratio', atLeast: 0.16 },
        relay,
        rival: nginxRival(nginx, rival),
      });
    }
    return lines;
  },
};
