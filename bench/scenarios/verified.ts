import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { GIB, makeRandom, MIB, touch } from '../data.ts';
import { alternate, getOnce } from '../measure.ts';
import { MAC, RELAY, startPair } from '../relay.ts';
import type { Scenario } from '../scenario.ts';

/** One large file as `relay app` gets it, with SHA-256 at both ends, beside curl without. */
export const verified: Scenario = {
  name: 'verified',
  async run({ runs, isQuick, directory, processes }) {
    const dataDir = join(directory, 'data');
    await mkdir(dataDir);
    const file = await makeRandom(dataDir, 'large.bin', isQuick ? 256 * MIB : 2 * GIB);
    const pair = await startPair(processes, { directory, dataDir });
    const app = [...RELAY, 'app', 'request-stream', MAC, file.name, '--router', pair.router.url];
    const measure = async (): Promise<number> => {
      // The connector remembers the digest of what it has sent, and would compute it only once.
      await touch(file);
      const { ms } = await processes.run([...app, '--verify', '--quiet', '-o', '/dev/null']);
      return file.bytes / 1000 / ms;
    };
    const { relay, rival } = await alternate(
      runs,
      measure,
      async () => (await getOnce(processes, pair.urlOf(file.name), file)).megabytesPerSecond,
    );
    return [
      {
        name: 'verified: relay app, its start included',
        unit: 'MB/s',
        target: { of: 'ratio', atLeast: 0.5 },
        relay,
        rival: { name: 'plain', figures: rival },
      },
    ];
  },
};
