import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type DataFile, GIB, makeRandom, MIB } from '../data.ts';
import { type LineOptions, ROUND_TRIP_MS, whyNotFar } from '../far.ts';
import { type FarSides, startFarSides } from '../far-sides.ts';
import { alternate, get, getOnce, median } from '../measure.ts';
import { type Bench, type Line, type Rival, type Scenario, type Target } from '../scenario.ts';

const RATE_MBIT = 1000;
/** Under losses one stream would take minutes for a file. */
const LOSSY_SECONDS = 20;

interface Profile {
  readonly name: string;
  readonly line: LineOptions;
  readonly target: Target;
  readonly bytes: number;
  readonly maxSeconds?: number;
}

const PROFILES: readonly Profile[] = [
  { name: 'far: 256 MiB, stock windows', line: stock(), target: { of: 'relay', atLeast: 80 }, bytes: 256 * MIB },
  { name: 'far: 1 GiB, stock windows', line: stock(), target: { of: 'relay', atLeast: 100 }, bytes: GIB },
  {
    name: 'far: 256 MiB, 64 MiB windows',
    line: { rateMbit: RATE_MBIT, windowBytes: 64 * MIB },
    target: { of: 'ratio', atLeast: 1 },
    bytes: 256 * MIB,
  },
  ...[0.1, 1].map((lossPercent) => ({
    name: `far: ${lossPercent} % of packets lost`,
    line: { rateMbit: RATE_MBIT, lossPercent },
    target: { of: 'ratio', atLeast: 6 } as const,
    bytes: 256 * MIB,
    maxSeconds: LOSSY_SECONDS,
  })),
];

const FIRST_BYTE = {
  name: 'far: first byte, warm',
  unit: 'round trips',
  target: { of: 'relay', atMost: 1.1 },
} as const;

/** Requests over one connection for one figure of first bytes; the first ones are left out. */
const TIMES = 12;
const WARM_UP = 2;

/** A node that is 80 ms away on a fast line. */
export const far: Scenario = {
  name: 'far',
  async run(bench) {
    const missing = whyNotFar(bench.farProgram);
    if (missing !== undefined) {
      const lines = [...PROFILES.map(({ name, target }) => ({ name, target, unit: 'MB/s' })), FIRST_BYTE];
      return lines.map((line) => ({ ...line, relay: [], missing }));
    }
    const dataDir = join(bench.directory, 'data');
    await mkdir(dataDir);
    const sizes = [...new Set(PROFILES.map(({ bytes }) => bytes))];
    const files = new Map<number, DataFile>();
    for (const bytes of sizes) {
      files.set(bytes, await makeRandom(dataDir, `${bytes}.bin`, bench.isQuick ? bytes / 16 : bytes));
    }
    const lines: Line[] = [];
    for (const [at, profile] of PROFILES.entries()) {
      const file = files.get(profile.bytes) as DataFile;
      lines.push(await measureRate(bench, `line-${at}`, dataDir, profile, file));
    }
    lines.push(await measureFirstByte(bench, dataDir));
    return lines;
  },
};

function stock(): LineOptions {
  return { rateMbit: RATE_MBIT };
}

async function measureRate(
  bench: Bench,
  id: string,
  dataDir: string,
  { name, line, target, maxSeconds }: Profile,
  file: DataFile,
): Promise<Line> {
  const sides = await startFarSides(bench, id, dataDir, line);
  const limit = maxSeconds === undefined ? {} : { maxSeconds: bench.isQuick ? maxSeconds / 4 : maxSeconds };
  const measure = async (url: string): Promise<number> => {
    const { through } = sides.network.cloud;
    return (await getOnce(bench.processes, url, { bytes: file.bytes, through, ...limit })).megabytesPerSecond;
  };
  const { relay, rival } = await alternateOver(bench, sides, file.name, measure);
  await sides.stop();
  return { name, unit: 'MB/s', target, relay, rival };
}

async function measureFirstByte(bench: Bench, dataDir: string): Promise<Line> {
  const file = await makeRandom(dataDir, 'small.bin', MIB);
  const sides = await startFarSides(bench, 'first-byte', dataDir, stock());
  const measure = async (url: string): Promise<number> => {
    const { through } = sides.network.cloud;
    const transfers = await get(bench.processes, url, { bytes: file.bytes, times: TIMES, through });
    return median(transfers.slice(WARM_UP).map(({ firstByteMs }) => firstByteMs)) / ROUND_TRIP_MS;
  };
  const { relay, rival } = await alternateOver(bench, sides, file.name, measure);
  await sides.stop();
  return { ...FIRST_BYTE, relay, rival };
}

async function alternateOver(
  { runs }: Bench,
  { urlOf, plain }: FarSides,
  name: string,
  measure: (url: string) => Promise<number>,
): Promise<{ relay: number[]; rival: Rival }> {
  const { relay, rival } = await alternate(runs, () => measure(urlOf(name)), plain && (() => measure(plain(name))));
  return {
    relay,
    rival: { name: 'one stream', figures: rival, ...(plain === undefined && { missing: 'nginx is not installed' }) },
  };
}
