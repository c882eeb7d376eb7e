import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { findFreePort } from '../test/support/nginx.ts';
import type { Certificate } from './nginx.ts';
import type { Processes, Running, StartOptions } from './processes.ts';

/** What users run. */
export const RELAY: readonly string[] = [process.execPath, join(import.meta.dirname, '../bin/relay.js')];

/** The node that is measured. */
export const MAC = 'cc-28-aa-01-02-03';

/** A router that is ready. */
export interface Router extends Running {
  readonly url: string;
}

export interface RouterOptions extends StartOptions {
  /** Holds its state. */
  readonly directory: string;
  readonly host?: string;
  /** Default a free one. */
  readonly port?: number;
  readonly args?: readonly string[];
  readonly isTls?: boolean;
}

/** Starts `relay router` on a free port; it takes requests when this resolves. */
export async function startRouter(
  processes: Processes,
  { directory, host = '127.0.0.1', port, args = [], isTls = false, ...options }: RouterOptions,
): Promise<Router> {
  const chosen = port ?? (await findFreePort());
  const state = ['--state-dir', join(directory, 'state')];
  const running = await processes.start(
    [...RELAY, 'router', '--host', host, '--port', String(chosen), ...state, '--log-format', 'json', ...args],
    (output) => output.includes('"url":'),
    options,
  );
  return { ...running, url: `${isTls ? 'https' : 'http'}://${host}:${chosen}` };
}

const isConnected = (output: string): boolean => output.includes('connected to router');

export interface ConnectorOptions extends StartOptions {
  readonly dataDir: string;
  readonly args?: readonly string[];
}

/** Starts `relay connector`; its link is up when this resolves. */
export async function startConnector(
  processes: Processes,
  { url }: Pick<Router, 'url'>,
  { dataDir, args = [], ...options }: ConnectorOptions,
): Promise<Running> {
  const own = ['--router', url, '--mac', MAC, '--data-dir', dataDir, '--log-format', 'json'];
  return processes.start([...RELAY, 'connector', ...own, ...args], isConnected, options);
}

/** A router, a connector behind it, and both their processes. */
export interface Pair {
  readonly router: Router;
  readonly pids: readonly number[];
  /** Where a dataset is as a resource of HTTP. */
  urlOf(name: string): string;
  /** Ends both, before the scenario is over. */
  stop(): Promise<void>;
}

export interface PairOptions {
  readonly directory: string;
  readonly dataDir: string;
  readonly routerArgs?: readonly string[];
  readonly routerEnv?: NodeJS.ProcessEnv;
  readonly connectorArgs?: readonly string[];
  /** Encrypts both legs. */
  readonly tls?: Certificate;
}

/** Starts a router and a connector that offers `dataDir`, both at their defaults but for what is given. */
export async function startPair(
  processes: Processes,
  { directory, dataDir, routerArgs = [], routerEnv = {}, connectorArgs = [], tls }: PairOptions,
): Promise<Pair> {
  const certificate = tls === undefined ? [] : ['--tls-cert', tls.cert, '--tls-key', tls.key];
  const trust = tls === undefined ? [] : ['--ca', tls.cert];
  const router = await startRouter(processes, {
    directory,
    isTls: tls !== undefined,
    args: [...certificate, ...routerArgs],
    env: routerEnv,
  });
  const connector = await startConnector(processes, router, { dataDir, args: [...trust, ...connectorArgs] });
  return {
    router,
    pids: [router.pid, connector.pid],
    urlOf: (name) => datasetUrl(router, name),
    stop: async () => {
      await processes.stop(connector);
      await processes.stop(router);
    },
  };
}

/** Where a dataset of the node is as a resource of HTTP. */
export const datasetUrl = ({ url }: Pick<Router, 'url'>, name: string): string =>
  `${url}/connectors/${MAC}/datasets/${name}`;

/** Writes the body of a request for a dataset into a file for curl, and gives the arguments that send it. */
export async function postDataset(directory: string, name: string): Promise<string[]> {
  const file = join(directory, `request-${name}.json`);
  await writeFile(file, JSON.stringify({ mac: MAC, dataset: name }));
  return ['--json', `@${file}`];
}
