import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLogger } from '../../src/observability/logger.ts';
import type { LimitSettings } from '../../src/router/limits/settings.ts';
import type { RouterOptions } from '../../src/router/options.ts';
import { Router } from '../../src/router/router.ts';

const MIB = 1024 * 1024;

/** The limits of a router, as the options have them by default. */
export const LIMITS: LimitSettings = {
  maxRequests: 2000,
  maxRequestsPerClient: 500,
  maxRequestsPerConnector: 250,
  maxConnections: 20_000,
  maxConnectionsPerAddress: 2000,
  maxHeaderBytes: 16_384,
  bodyTotalBytes: 256 * MIB,
  handshakeTimeoutMs: 10_000,
  headersTimeoutMs: 20_000,
  bodyTimeoutMs: 30_000,
};

/** A directory that is gone at the end of the scope. */
export async function makeTempDir(): Promise<AsyncDisposable & { path: string }> {
  const path = await mkdtemp(join(tmpdir(), 'relay-test-'));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

/** A router on a free port of loopback, with deadlines short enough for tests. It ends with the scope. */
export async function startRouter(
  overrides: Partial<RouterOptions> = {},
): Promise<AsyncDisposable & { url: string; router: Router; stateDir: string }> {
  const directory = await makeTempDir();
  const router = await Router.start({
    host: '127.0.0.1',
    port: 0,
    stateDir: join(directory.path, 'state'),
    storeLocation: { kind: 'file', directory: join(directory.path, 'store') },
    storeMaxBytes: 4096 * MIB,
    storeMinFreeBytes: MIB,
    storeKeepMs: 3_600_000,
    urlTtlMs: 3_600_000,
    s3: {},
    trustedProxies: [],
    offloadOrigins: [],
    corsOrigins: [],
    allowNoAuth: false,
    bufferMaxBytes: 64 * MIB,
    bufferTotalBytes: 256 * MIB,
    windowTotalBytes: 128 * MIB,
    limits: LIMITS,
    firstByteTimeoutMs: 10_000,
    silenceTimeoutMs: 10_000,
    reconnectWaitMs: 0,
    resumeWaitMs: 10_000,
    heartbeatIntervalMs: 20_000,
    heartbeatTimeoutMs: 45_000,
    drainDelayMs: 0,
    graceMs: 5000,
    version: '0.0.0-test',
    logger: silentLogger(),
    ...overrides,
  });
  return {
    url: router.url,
    router,
    stateDir: join(directory.path, 'state'),
    [Symbol.asyncDispose]: async () => {
      await router.close();
      await directory[Symbol.asyncDispose]();
    },
  };
}
