import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, readdir } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { FaultyLine } from '../support/faulty-line.ts';
import { type Minio, startMinio } from '../support/minio.ts';
import { startNginx } from '../support/nginx.ts';
import { type LogLine, readMemory, RoleProcess } from '../support/processes.ts';
import { makeTempDir } from '../support/router.ts';
import type { LinkKind, Plan } from './plan.ts';

/** Everything that waits for a fault waits for short, so that a run takes seconds. */
const ROUTER_OPTIONS = [
  ['--first-byte-timeout', '5s'],
  ['--silence-timeout', '4s'],
  ['--resume-wait', '6s'],
  ['--reconnect-wait', '4s'],
  ['--heartbeat-interval', '400ms'],
  ['--heartbeat-timeout', '1500ms'],
  ['--grace', '2s'],
].flat();
const CONNECTOR_OPTIONS = [
  ['--connect-timeout', '1500ms'],
  ['--reconnect-min', '50ms'],
  ['--reconnect-max', '500ms'],
  ['--heartbeat-interval', '400ms'],
  ['--heartbeat-timeout', '1500ms'],
  ['--grace', '2s'],
].flat();

/** The three connectors of a site: one for each kind of link, and one behind nginx. */
export type ConnectorKey = LinkKind | 'nginx';
const MACS: Readonly<Record<ConnectorKey, string>> = {
  websocket: 'cc-28-aa-01-02-01',
  sse: 'cc-28-aa-01-02-02',
  nginx: 'cc-28-aa-01-02-03',
};

/** The lines of a site, by who begins and who gets the connections. */
interface Lines {
  readonly connectors: Readonly<Record<ConnectorKey, FaultyLine>>;
  readonly app: FaultyLine;
  readonly appByNginx: FaultyLine;
  readonly nodeStore: FaultyLine;
  readonly appStore: FaultyLine;
}

/** Router, three connectors, MinIO and nginx as processes of their own, with faulty lines between all of them. */
export class Site implements AsyncDisposable {
  readonly dataDir: string;
  readonly outDir: string;
  readonly lines: Lines;
  readonly minio: Minio;
  readonly #stack: AsyncDisposableStack;
  readonly #stateDir: string;
  readonly #port: number;
  readonly #bucket: string;
  readonly #connectors = new Map<ConnectorKey, RoleProcess>();
  /** Of every router there was, so that a restart loses nothing. */
  readonly #routers: RoleProcess[] = [];

  private constructor(
    stack: AsyncDisposableStack,
    parts: { root: string; port: number; bucket: string; minio: Minio; lines: Lines },
  ) {
    this.#stack = stack;
    this.dataDir = join(parts.root, 'data');
    this.outDir = join(parts.root, 'out');
    this.#stateDir = join(parts.root, 'state');
    this.#port = parts.port;
    this.#bucket = parts.bucket;
    this.minio = parts.minio;
    this.lines = parts.lines;
  }

  /** Starts all. @throws {Error} where MinIO, nginx or curl is missing. */
  static async start(): Promise<Site> {
    await using stack = new AsyncDisposableStack();
    const root = stack.use(await makeTempDir()).path;
    const minio = stack.use(await startMinio());
    const bucket = await minio.createBucket();
    const port = await findLastingPort();
    const storePort = Number(new URL(minio.endpoint).port);
    const line = async (target: number): Promise<FaultyLine> => stack.use(await FaultyLine.to(target));
    const [appNginx, connectorNginx] = [await findLastingPort(), await findLastingPort()];
    const upstream = `http://127.0.0.1:${port}`;
    stack.use(await startNginx([appNginx, connectorNginx].map((each) => ({ port: each, upstream }))));
    const lines: Lines = {
      connectors: { websocket: await line(port), sse: await line(port), nginx: await line(connectorNginx) },
      app: await line(port),
      appByNginx: await line(appNginx),
      nodeStore: await line(storePort),
      appStore: await line(storePort),
    };
    const site = new Site(stack.move(), { root, port, bucket, minio, lines });
    try {
      await Promise.all([site.dataDir, site.outDir, site.#stateDir].map((path) => mkdir(path)));
      await site.startRouter();
      await Promise.all((Object.keys(MACS) as ConnectorKey[]).map((key) => site.startConnector(key)));
      return site;
    } catch (error) {
      await site[Symbol.asyncDispose]();
      throw error;
    }
  }

  get router(): RoleProcess {
    return this.#routers.at(-1) as RoleProcess;
  }

  get routerUrl(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  connector(key: ConnectorKey): RoleProcess {
    return this.#connectors.get(key) as RoleProcess;
  }

  /** The processes that outlive a run. */
  get roles(): ReadonlyMap<string, RoleProcess> {
    return new Map<string, RoleProcess>([['router', this.router], ...this.#connectors]);
  }

  /** Starts a router where the last one was, with its state. */
  async startRouter(): Promise<void> {
    const { accessKey, secretKey, endpoint } = this.minio;
    const store = [
      ['--store', `s3://${this.#bucket}`],
      ['--s3-endpoint', endpoint],
      ['--s3-node-endpoint', this.lines.nodeStore.url],
      ['--s3-app-endpoint', this.lines.appStore.url],
      ['--s3-region', 'us-east-1'],
    ].flat();
    const own = ['--port', `${this.#port}`, '--state-dir', this.#stateDir];
    const role = new RoleProcess(['router', ...own, ...store, ...ROUTER_OPTIONS], {
      cwd: this.#stateDir,
      env: { AWS_ACCESS_KEY_ID: accessKey, AWS_SECRET_ACCESS_KEY: secretKey },
    });
    this.#routers.push(role);
    await role.logged((line) => typeof line['url'] === 'string');
  }

  /** Has the router end well, and starts another. */
  async restartRouter(): Promise<void> {
    await this.router.end();
    await this.startRouter();
  }

  /** Starts a connector, once it is connected. */
  async startConnector(key: ConnectorKey): Promise<void> {
    const own = ['--router', this.lines.connectors[key].url, '--mac', MACS[key], '--data-dir', this.dataDir];
    const transport = ['--transport', key === 'websocket' ? 'websocket' : 'sse'];
    const role = new RoleProcess(['connector', ...own, ...transport, ...CONNECTOR_OPTIONS], { cwd: this.dataDir });
    this.#connectors.set(key, role);
    await role.logged(({ msg }) => msg === 'connected to router');
  }

  /** Which connector a run asks. */
  chooseConnector({ link, nginx }: Plan): { key: ConnectorKey; mac: string } {
    const key = nginx === 'connector' ? 'nginx' : link;
    return { key, mac: MACS[key] };
  }

  /** What the routers have logged since `from` lines, the dead ones included. */
  routerLog(from = 0): LogLine[] {
    return this.#routers.flatMap(({ log }) => log).slice(from);
  }

  /** Ends every fault, and gives the lines their full rate. */
  heal(): void {
    for (const line of this.#allLines()) {
      line.heal();
      line.bytesPerSecond = Number.POSITIVE_INFINITY;
    }
  }

  setRate(bytesPerSecond: number): void {
    for (const line of this.#allLines()) line.bytesPerSecond = bytesPerSecond;
  }

  /** Commands that have not ended, as the router's metrics have it. */
  async countPending(): Promise<number> {
    const response = await fetch(`${this.routerUrl}/metrics`, { signal: AbortSignal.timeout(5000) });
    return Number(/^relay_pending_exchanges (\d+)$/m.exec(await response.text())?.[1]);
  }

  /** Which connectors the router does not have on a link. */
  async listOffline(): Promise<string[]> {
    const offline: string[] = [];
    for (const [key, mac] of Object.entries(MACS)) {
      const response = await fetch(`${this.routerUrl}/connectors/${mac}`, { signal: AbortSignal.timeout(5000) });
      const { state } = (await response.json()) as { state?: string };
      if (state !== 'online') offline.push(key);
    }
    return offline;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const roles = [...this.#routers, ...this.#connectors.values()];
    await Promise.all(roles.map((role) => role[Symbol.asyncDispose]()));
    await this.#stack.disposeAsync();
  }

  #allLines(): FaultyLine[] {
    const { connectors, ...others } = this.lines;
    return [...Object.values(connectors), ...Object.values(others)];
  }
}

/** A port that is free, and stays so while its server is away: none of those that systems give out for connections. */
async function findLastingPort(): Promise<number> {
  for (;;) {
    const server = createServer();
    server.listen(randomInt(12_000, 30_000), '127.0.0.1');
    try {
      await once(server, 'listening');
    } catch {
      continue;
    }
    const { port } = server.address() as { port: number };
    server.close();
    await once(server, 'close');
    return port;
  }
}

/** What a process holds at this moment. */
export interface Holdings {
  readonly descriptors: number;
  readonly residentBytes: number;
}

/** Open descriptors, sockets among them, and resident memory. */
export async function readHoldings(pid: number): Promise<Holdings> {
  const [descriptors, { resident }] = await Promise.all([readdir(`/proc/${pid}/fd`), readMemory(pid)]);
  return { descriptors: descriptors.length, residentBytes: resident };
}
