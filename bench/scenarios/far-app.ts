import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type DataFile, GIB, makeRandom, MIB, touch } from '../data.ts';
import { type LineOptions, whyNotFar } from '../far.ts';
import { startFarSides } from '../far-sides.ts';
import { alternate, getOnce } from '../measure.ts';
import { MAC, RELAY } from '../relay.ts';
import type { Bench, Line, Scenario } from '../scenario.ts';

const RATE_MBIT = 1000;

interface Profile {
  readonly name: string;
  readonly line: LineOptions;
  readonly bytes: number;
  /** Save it in place of writing it to standard output. */
  readonly saves?: boolean;
}

const PROFILES: readonly Profile[] = [
  { name: 'far: the app far away, 256 MiB', line: { rateMbit: RATE_MBIT }, bytes: 256 * MIB },
  { name: 'far: the app far away, 1 GiB', line: { rateMbit: RATE_MBIT }, bytes: GIB },
  { name: 'far: the app far away, 256 MiB to a file', line: { rateMbit: RATE_MBIT }, bytes: 256 * MIB, saves: true },
  {
    name: 'far: the app far away, 0.1 % of packets lost',
    line: { rateMbit: RATE_MBIT, lossPercent: 0.1 },
    bytes: 32 * MIB,
  },
];

/** A router beside its node, and an app that is 80 ms away on a fast line: `relay app`, verified, beside curl over one stream. */
export const farApp: Scenario = {
  name: 'far-app',
  async run(bench) {
    const missing = whyNotFar(bench.farProgram);
    if (missing !== undefined) return PROFILES.map(({ name }) => ({ name, unit: 'MB/s', relay: [], missing }));
    const dataDir = join(bench.directory, 'data');
    await mkdir(dataDir);
    const lines: Line[] = [];
    for (const [at, profile] of PROFILES.entries()) {
      const bytes = bench.isQuick ? profile.bytes / 16 : profile.bytes;
      const file = await makeRandom(dataDir, `${bytes}.bin`, bytes);
      lines.push(await measure(bench, `app-${at}`, dataDir, profile, file));
    }
    return lines;
  },
};

async function measure(
  bench: Bench,
  id: string,
  dataDir: string,
  { name, line, saves = false }: Profile,
  file: DataFile,
): Promise<Line> {
  const { processes, runs, directory } = bench;
  const sides = await startFarSides(bench, id, dataDir, line, 'site');
  const { through } = sides.network.cloud;
  const target = saves ? join(directory, id, 'out') : '/dev/null';
  const app = [...RELAY, 'app', 'request-stream', MAC, file.name, '--router', sides.router.url];
  const measureApp = async (): Promise<number> => {
    // The connector remembers the digest of what it has sent, and would compute it only once.
    await touch(file);
    const { ms } = await processes.run([...app, '--verify', '--quiet', '-o', target], { through });
    return file.bytes / 1000 / ms;
  };
  const measureOne = async (): Promise<number> =>
    (await getOnce(processes, sides.urlOf(file.name), { bytes: file.bytes, through })).megabytesPerSecond;
  const { relay, rival } = await alternate(runs, measureApp, measureOne);
  await sides.stop();
  return { name, unit: 'MB/s', relay, rival: { name: 'one stream', figures: rival } };
}
