import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { GIB, KIB, makeRandom, makeSparse, MIB } from '../data.ts';
import { getOnce, withPeak } from '../measure.ts';
import type { Processes } from '../processes.ts';
import { startPair } from '../relay.ts';
import type { Line, Scenario } from '../scenario.ts';

const STREAMS = 200;

/** What the router's resident memory rises to: one very long stream, and many at once. */
export const memory: Scenario = {
  name: 'memory',
  async run({ runs, isQuick, directory, processes }) {
    const dataDir = join(directory, 'data');
    await mkdir(dataDir);
    const warm = await makeSparse(dataDir, 'warm.bin', 64 * KIB);
    const long = await makeSparse(dataDir, 'long.bin', isQuick ? GIB : 10 * GIB);
    // Nothing that becomes smaller on the way.
    const many = await makeRandom(dataDir, 'many.bin', isQuick ? 4 * MIB : 64 * MIB);
    const added: number[] = [];
    const all: number[] = [];
    for (let run = 0; run < runs; run++) {
      // A router anew each time: memory that an earlier run left behind would hide what this one takes.
      const own = join(directory, `run-${run}`);
      await mkdir(own);
      const pair = await startPair(processes, { directory: own, dataDir });
      await getOnce(processes, pair.urlOf(warm.name), warm);
      const one = await withPeak(pair.router.pid, () => getOnce(processes, pair.urlOf(long.name), long));
      added.push(one.peak - one.before);
      const streams = await withPeak(pair.router.pid, () =>
        fetchAtOnce(processes, own, pair.urlOf(many.name), many.bytes),
      );
      all.push(streams.peak);
      await pair.stop();
    }
    const lines: Line[] = [
      {
        name: `memory: added by one stream of ${long.bytes / GIB} GiB`,
        unit: 'MiB',
        target: { of: 'relay', atMost: 32 },
        relay: added,
      },
      {
        name: `memory: in all with ${STREAMS} streams`,
        unit: 'MiB',
        target: { of: 'relay', atMost: 200 },
        relay: all,
      },
    ];
    return lines;
  },
};

/** Fetches a URL many times at once. @throws {Error} when one brings another number of bytes. */
async function fetchAtOnce(processes: Processes, directory: string, url: string, bytes: number): Promise<void> {
  const file = join(directory, 'streams.curl');
  const one = `url = "${url}"\noutput = "/dev/null"\n`;
  await writeFile(file, `write-out = "%{size_download}\\n"\n${one.repeat(STREAMS)}`);
  const curl = ['curl', '-sS', '--parallel', '--parallel-immediate', '--parallel-max', String(STREAMS), '-K', file];
  const sizes = (await processes.run(curl)).stdout.trim().split('\n').map(Number);
  if (sizes.length !== STREAMS || sizes.some((size) => size !== bytes)) {
    throw new Error(`${STREAMS} streams gave bodies of ${[...new Set(sizes)].join(', ')} bytes in place of ${bytes}`);
  }
}
