import { createHash, randomBytes } from 'node:crypto';
import { open, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type Minio, startMinio } from '../support/minio.ts';
import { RoleProcess, type Running, startConnectorProcess, startRelay } from '../support/processes.ts';
import { makeTempDir } from '../support/router.ts';
import { SlowLine } from '../support/slow-line.ts';

const NODE = 'cc-28-aa-01-02-03';
const MIB = 1024 * 1024;
const PART_BYTES = 16 * MIB;
const PARTS = 8;
const SIZE = (PARTS - 1) * PART_BYTES + 5 * MIB;

const resources = new AsyncDisposableStack();
let minio: Minio;
let data: string;
let sha256: string;

beforeAll(async () => {
  minio = resources.use(await startMinio());
  data = resources.use(await makeTempDir()).path;
  const hash = createHash('sha256');
  const file = await open(join(data, 'big.bin'), 'w');
  for (let left = SIZE; left > 0; left -= MIB) {
    const piece = randomBytes(MIB);
    hash.update(piece);
    await file.write(piece);
  }
  await file.close();
  sha256 = hash.digest('hex');
}, 60_000);
afterAll(() => resources.disposeAsync());

/** A site whose line to the store is held up once some parts are through, and what may be killed and started anew. */
class Site implements AsyncDisposable {
  readonly #resources = new AsyncDisposableStack();
  readonly #directory: string;
  readonly #kind: 'file' | 's3';
  #bucket = '';
  #port = '0';
  /** To the store. */
  line!: SlowLine;
  router!: RoleProcess;
  #url = '';

  private constructor(kind: 'file' | 's3', directory: string) {
    this.#kind = kind;
    this.#directory = directory;
  }

  static async open(kind: 'file' | 's3'): Promise<Site> {
    const directory = await makeTempDir();
    const site = new Site(kind, directory.path);
    site.#resources.use(directory);
    if (kind === 's3') {
      site.#bucket = await minio.createBucket();
      site.line = site.#resources.use(await SlowLine.to(minio.endpoint));
    }
    await site.startRouter();
    if (kind === 'file') site.line = site.#resources.use(await SlowLine.to(site.#url));
    site.line.hold(PART_BYTES + 2 * MIB);
    return site;
  }

  get target(): string {
    return join(this.#directory, 'out.bin');
  }

  async startRouter(): Promise<void> {
    const store = this.#kind === 'file' ? `file:${join(this.#directory, 'store')}` : `s3://${this.#bucket}`;
    const node = this.#kind === 'file' ? [] : ['--s3-node-endpoint', this.line.url];
    const args = ['--port', this.#port, '--state-dir', join(this.#directory, 'state'), '--store', store, ...node];
    this.router = this.#resources.use(
      new RoleProcess(['router', ...args], {
        cwd: this.#directory,
        env: {
          AWS_ACCESS_KEY_ID: minio.accessKey,
          AWS_SECRET_ACCESS_KEY: minio.secretKey,
          AWS_ENDPOINT_URL_S3: minio.endpoint,
        },
      }),
    );
    this.#url = String((await this.router.logged((line) => typeof line['url'] === 'string'))['url']);
    this.#port = new URL(this.#url).port;
  }

  async startConnector(): Promise<RoleProcess> {
    const url = this.#kind === 'file' ? this.line.url : this.#url;
    const args = ['--reconnect-min', '20ms', '--reconnect-max', '200ms'];
    return this.#resources.use(await startConnectorProcess(url, NODE, data, args));
  }

  request(): Running {
    return startRelay([
      'app',
      'request-offload',
      '--router',
      this.#url,
      '--verify',
      '-o',
      this.target,
      NODE,
      'big.bin',
    ]);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#resources.disposeAsync();
  }
}

/** Sees that the file is right, and that nothing but the parts that were missing was sent. */
async function expectResumed(site: Site, app: Running, connector: RoleProcess, sentBefore: number): Promise<void> {
  const { done, of } = await connector.logged(({ msg }) => msg === 'goes on with an upload');
  expect([of, done]).toEqual([PARTS, expect.any(Number)]);
  expect(Number(done)).toBeGreaterThan(0);
  const { code, stderr } = await app.result;
  expect([code, stderr]).toEqual([0, '']);
  expect(
    createHash('sha256')
      .update(await readFile(site.target))
      .digest('hex'),
  ).toBe(sha256);
  // The rest of what goes over the line is heads and small messages.
  expect(site.line.passed - sentBefore).toBeLessThan(SIZE - (Number(done) - 1) * PART_BYTES);
}

describe.each(['file', 's3'] as const)('an upload to a store of the kind %s', (kind) => {
  test('goes on from its parts when the connector was killed', async () => {
    await using site = await Site.open(kind);
    const first = await site.startConnector();
    const app = site.request();
    await site.line.stalled;
    await first.end('SIGKILL');
    // What the dead one had still on the line goes with it.
    site.line.cut();
    site.line.release();
    const sentBefore = site.line.passed;
    const second = await site.startConnector();
    await expectResumed(site, app, second, sentBefore);
  }, 120_000);

  test('goes on from its parts when the router was killed', async () => {
    await using site = await Site.open(kind);
    const connector = await site.startConnector();
    const app = site.request();
    await site.line.stalled;
    await site.router.end('SIGKILL');
    site.line.release();
    await site.startRouter();
    await site.router.logged(({ msg }) => msg === 'an unfinished upload is gone on with');
    await connector.logged(({ msg }) => msg === 'goes on with an upload');
    await expectResumed(site, app, connector, site.line.passed);
  }, 120_000);
});
