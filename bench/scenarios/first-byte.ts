import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { makeRandom, MIB } from '../data.ts';
import { alternate, get, median } from '../measure.ts';
import { startNginxPair } from '../nginx.ts';
import { startPair } from '../relay.ts';
import { nginxRival, type Scenario } from '../scenario.ts';

/** Requests over one connection for one figure; the first ones are left out. */
const TIMES = 60;
const WARM_UP = 10;

/** How long until the first byte of a file of 1 MiB, with everything warm and the connection open. */
export const firstByte: Scenario = {
  name: 'first-byte',
  async run({ runs, directory, processes }) {
    const dataDir = join(directory, 'data');
    await mkdir(dataDir);
    const file = await makeRandom(dataDir, 'small.bin', MIB);
    const pair = await startPair(processes, { directory, dataDir });
    const nginx = await startNginxPair(processes, directory, dataDir);
    const measure = async (url: string): Promise<number> => {
      const transfers = await get(processes, url, { bytes: file.bytes, times: TIMES });
      return median(transfers.slice(WARM_UP).map(({ firstByteMs }) => firstByteMs));
    };
    const { relay, rival } = await alternate(
      runs,
      () => measure(pair.urlOf(file.name)),
      nginx && (() => measure(`${nginx.url}/${file.name}`)),
    );
    return [
      {
        name: 'first byte: 1 MiB, warm',
        unit: 'ms',
        target: { of: 'ratio', atMost: 2 },
        relay,
        rival: nginxRival(nginx, rival),
      },
    ];
  },
};
