import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { constants, zstdCompressSync } from 'node:zlib';
import { makeCsv, MIB } from '../data.ts';
import { whyNotFar } from '../far.ts';
import { startFarSides } from '../far-sides.ts';
import { alternate, getOnce } from '../measure.ts';
import type { Scenario } from '../scenario.ts';

const RATE_MBIT = 10;
const ZSTD_LEVEL = 3;

/** Text over a thin line, beside what zstd would make of one plain stream. */
export const thin: Scenario = {
  name: 'thin',
  async run(bench) {
    const { runs, isQuick, directory, processes, farProgram } = bench;
    const line = { name: 'thin: CSV over 10 Mbit/s', unit: 'MB/s', target: { of: 'ratio', atLeast: 0.9 } } as const;
    const missing = whyNotFar(farProgram);
    if (missing !== undefined) return [{ ...line, relay: [], missing }];
    const dataDir = join(directory, 'data');
    await mkdir(dataDir);
    const file = await makeCsv(dataDir, 'measurements.csv', isQuick ? 4 * MIB : 16 * MIB);
    const packed = zstdCompressSync(await readFile(file.path), {
      params: { [constants.ZSTD_c_compressionLevel]: ZSTD_LEVEL },
    });
    const factor = file.bytes / packed.length;
    const { network, urlOf, plain, stop } = await startFarSides(bench, 'line', dataDir, { rateMbit: RATE_MBIT });
    const measure = async (url: string): Promise<number> => {
      const { through } = network.cloud;
      return (await getOnce(processes, url, { bytes: file.bytes, through })).megabytesPerSecond;
    };
    const { relay, rival } = await alternate(
      runs,
      () => measure(urlOf(file.name)),
      plain && (() => measure(plain(file.name))),
    );
    await stop();
    return [
      {
        ...line,
        relay,
        rival: {
          name: `${factor.toFixed(1)} (zstd -3) × one stream`,
          figures: rival.map((rate) => rate * factor),
          ...(plain === undefined && { missing: 'nginx is not installed' }),
        },
      },
    ];
  },
};
