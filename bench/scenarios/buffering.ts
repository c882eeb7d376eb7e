import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { makeCsv, MIB } from '../data.ts';
import { alternate } from '../measure.ts';
import { postDataset, startPair } from '../relay.ts';
import type { Scenario } from '../scenario.ts';

/** Text in the JSON of pattern A, as large as it may be at the default, beside pattern B. */
export const buffering: Scenario = {
  name: 'buffering',
  async run({ runs, isQuick, directory, processes }) {
    const dataDir = join(directory, 'data');
    await mkdir(dataDir);
    const file = await makeCsv(dataDir, 'text.csv', isQuick ? 4 * MIB : 64 * MIB);
    const pair = await startPair(processes, { directory, dataDir });
    const body = await postDataset(directory, file.name);
    const measure = async (path: string): Promise<number> => {
      const curl = ['curl', '-sS', '--fail', '-w', '%{time_total} %{size_download}', '-o', '/dev/null', ...body];
      const { stdout } = await processes.run([...curl, `${pair.router.url}/datasets/${path}`]);
      const [seconds = 0, size = 0] = stdout.split(' ').map(Number);
      if (size < file.bytes) throw new Error(`${path} gave ${size} of ${file.bytes} bytes`);
      return seconds * 1000;
    };
    const { relay, rival } = await alternate(
      runs,
      () => measure('request-sync'),
      () => measure('request-stream'),
    );
    return [
      {
        name: `buffering: JSON of ${file.bytes / MIB} MiB of text`,
        unit: 'ms',
        target: { of: 'ratio', atMost: 2 },
        relay,
        rival: { name: 'pattern B', figures: rival },
      },
    ];
  },
};
