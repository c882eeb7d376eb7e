import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { RELAY, startRouter } from '../relay.ts';
import type { Scenario } from '../scenario.ts';

/** How long it takes until the command line answers, and until a router takes requests. */
export const start: Scenario = {
  name: 'start',
  async run({ runs, directory, processes }) {
    const version: number[] = [];
    const ready: number[] = [];
    for (let run = 0; run < runs; run++) {
      version.push((await processes.run([...RELAY, '--version'])).ms / 1000);
      const own = join(directory, `router-${run}`);
      await mkdir(own);
      const begun = performance.now();
      const router = await startRouter(processes, { directory: own });
      ready.push((performance.now() - begun) / 1000);
      await processes.stop(router);
    }
    return [
      { name: 'start: relay --version', unit: 's', target: { of: 'relay', atMost: 0.15 }, relay: version },
      { name: 'start: router ready', unit: 's', target: { of: 'relay', atMost: 0.5 }, relay: ready },
    ];
  },
};
