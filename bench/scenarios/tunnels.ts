import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { findFreePort } from '../../test/support/nginx.ts';
import { GIB, makeRandom, MIB } from '../data.ts';
import { alternate, getOnce } from '../measure.ts';
import { startNginx } from '../nginx.ts';
import { findProgram } from '../programs.ts';
import { startPair } from '../relay.ts';
import type { Line, Scenario } from '../scenario.ts';
import { TUNNELS } from '../tunnels.ts';

/** One large file over plain HTTP, beside the tunnels that people run in front of a file server, and beside a pipe. */
export const tunnels: Scenario = {
  name: 'tunnels',
  async run({ runs, isQuick, directory, processes }) {
    const dataDir = join(directory, 'data');
    await mkdir(dataDir);
    const file = await makeRandom(dataDir, 'large.bin', isQuick ? 128 * MIB : GIB);
    const pair = await startPair(processes, { directory, dataDir });
    const site = await startNginx(processes, directory, { serve: dataDir });
    const rate = async (url: string): Promise<number> => (await getOnce(processes, url, file)).megabytesPerSecond;
    const beside = async (name: string, rival: (() => Promise<number>) | undefined, missing: string): Promise<Line> => {
      const figures =
        rival === undefined
          ? { relay: [], rival: [] }
          : await alternate(runs, () => rate(pair.urlOf(file.name)), rival);
      return {
        name: `near: rate, beside ${name}`,
        unit: 'MB/s',
        relay: figures.relay,
        ...(rival === undefined && { missing: `${name}: ${missing}` }),
        rival: { name, figures: figures.rival },
      };
    };
    const lines: Line[] = [];
    for (const tunnel of TUNNELS) {
      const port = await findFreePort();
      const isThere = site !== undefined && (await tunnel.start({ processes, directory, upstream: site.port, port }));
      const rival = isThere ? () => rate(`http://127.0.0.1:${port}/${file.name}`) : undefined;
      lines.push(await beside(tunnel.name, rival, site === undefined ? 'nginx is not installed' : 'not installed'));
    }
    const piping = findProgram('piping-server');
    const port = await findFreePort();
    if (piping !== undefined) {
      const isUp = (): Promise<boolean> =>
        fetch(`http://127.0.0.1:${port}/version`).then(
          ({ ok }) => ok,
          () => false,
        );
      await processes.start([piping, `--http-port=${port}`, '--host=127.0.0.1'], isUp);
    }
    const url = `http://127.0.0.1:${port}/site`;
    const pipe = async (): Promise<number> => {
      const sending = processes.run(['curl', '-sS', '-T', join(dataDir, file.name), '-o', '/dev/null', url]);
      const [megabytes] = await Promise.all([rate(url), sending]);
      return megabytes;
    };
    lines.push(await beside('piping-server', piping === undefined ? undefined : pipe, 'not installed'));
    return lines;
  },
};
