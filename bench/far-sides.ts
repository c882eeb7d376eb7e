import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type FarNetwork, type LineOptions, startFar } from './far.ts';
import { startNginx } from './nginx.ts';
import { datasetUrl, type Router, startConnector, startRouter } from './relay.ts';
import type { Bench } from './scenario.ts';

/** relay and one plain stream over the same line: the client in the cloud, connector and nginx on the site. */
export interface FarSides {
  readonly network: FarNetwork;
  readonly router: Router;
  readonly urlOf: (name: string) => string;
  /** Of the nginx that a client in the cloud fetches from over one connection; undefined where it is not installed. */
  readonly plain: ((name: string) => string) | undefined;
  readonly stop: () => Promise<void>;
}

/** Starts a line and both sides. @param routerAt at which end the router is. */
export async function startFarSides(
  { processes, directory, farProgram }: Bench,
  name: string,
  dataDir: string,
  line: LineOptions,
  routerAt: 'cloud' | 'site' = 'cloud',
): Promise<FarSides> {
  const own = join(directory, name);
  await mkdir(own);
  const network = await startFar(processes, farProgram, line);
  const { site } = network;
  const router = await startRouter(processes, { directory: own, ...network[routerAt], args: ['--insecure-no-auth'] });
  const connector = await startConnector(processes, router, { dataDir, through: site.through });
  const nginx = await startNginx(processes, own, { serve: dataDir }, site);
  return {
    network,
    router,
    urlOf: (dataset) => datasetUrl(router, dataset),
    plain: nginx && ((dataset) => `http://${nginx.address}/${dataset}`),
    stop: async () => {
      for (const running of [nginx, connector, router]) if (running !== undefined) await processes.stop(running);
      await network.stop();
    },
  };
}
