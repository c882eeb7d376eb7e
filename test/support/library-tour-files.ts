import { readdir, readFile } from 'node:fs/promises';
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import type * as Files from '../../src/files.ts';
import type * as Library from '../../src/index.ts';
import { type TourPlan, type TourReport, takeSteps } from './library-tour.ts';

/** Where a tour of files leads. */
export interface FilesTourPlan extends TourPlan {
  /** The router, by another line that breaks once within a dataset. */
  readonly cutFileUrl: string;
  /** An empty directory. */
  readonly directory: string;
}

/** What every step has. */
interface FilesTour {
  readonly library: typeof Library;
  readonly files: typeof Files;
  readonly plan: FilesTourPlan;
  readonly client: Library.RelayClient;
}

const BIG = 'big.bin';

/** What a program does with the library where there are files: Node.js, Bun and Deno take it alike. */
export function runFilesTour(library: typeof Library, files: typeof Files, plan: FilesTourPlan): Promise<TourReport> {
  const client = new library.RelayClient({ baseUrl: plan.url, token: plan.token });
  return takeSteps(STEPS, { library, files, plan, client });
}

const STEPS: Readonly<Record<string, (tour: FilesTour) => Promise<unknown>>> = {
  download: async ({ library, files, plan }) => {
    const client = new library.RelayClient({ baseUrl: plan.cutFileUrl, token: plan.token });
    let interruptions = 0;
    const path = join(plan.directory, BIG);
    const { size, verified } = await files.download(client, plan.mac, BIG, path, {
      onInterruption: () => (interruptions += 1),
    });
    return [size, verified, interruptions, await hash(path)];
  },

  'download, going on with what an earlier one has left': async ({ client, files, plan }) => {
    const path = join(plan.directory, 'again.bin');
    const controller = new AbortController();
    const onBytes = (bytes: number): void => {
      if (bytes > 1_000_000) controller.abort();
    };
    const { signal } = controller;
    const name = await files.download(client, plan.mac, BIG, path, { signal, onBytes }).then(
      () => 'no error',
      (error: Error) => error.name,
    );
    let had = 0;
    const { verified } = await files.download(client, plan.mac, BIG, path, { onResume: (offset) => (had = offset) });
    return [name, had > 0, verified, await hash(path)];
  },

  'download of what is not there': async ({ client, library, files, plan }) => {
    const path = join(plan.directory, 'none.csv');
    const error: unknown = await files.download(client, plan.mac, 'no-such.csv', path).catch((cause) => cause);
    return [error instanceof library.RelayError && error.code, (await readdir(plan.directory)).toSorted()];
  },

  'saveTo, by way of the store': async ({ client, library, files, plan }) => {
    const path = join(plan.directory, 'offloaded.bin');
    const answer = await client.requestOffload(plan.mac, BIG);
    const { size, verified } = await files.saveTo(path, library.downloadOffloaded(answer));
    return [size, verified, await hash(path)];
  },

  downloadAll: async ({ client, files, plan }) => {
    const directory = join(plan.directory, 'all');
    const warnings: string[] = [];
    const onWarning = (text: string): void => void warnings.push(text);
    const { fetched, failed, bytes } = await files.downloadAll(client, plan.mac, directory, { onWarning });
    const again = await files.downloadAll(client, plan.mac, directory, { onWarning });
    const compared = await files.downloadAll(client, plan.mac, directory, { checksum: true });
    const entries = await readdir(directory, { recursive: true, withFileTypes: true });
    const names = entries.filter((entry) => entry.isFile()).map(({ name }) => name);
    return [
      fetched,
      failed,
      bytes,
      again.present,
      compared.present,
      names.toSorted(),
      await hash(join(directory, BIG)),
      warnings,
    ];
  },

  downloadFleet: async ({ client, files, plan }) => {
    const connectors: Library.ConnectorInfo[] = [];
    for await (const connector of client.connectors()) connectors.push(connector);
    const output = join(plan.directory, 'fleet/{mac}/{path}');
    const { fetched, failed } = await files.downloadFleet(client, connectors, output, { glob: '*.bin' });
    return [fetched, failed, await hash(join(plan.directory, 'fleet', plan.mac, BIG))];
  },
};

/** SHA-256 in hex. */
const hash = async (path: string): Promise<string> =>
  createHash('sha256')
    .update(await readFile(path))
    .digest('hex');
