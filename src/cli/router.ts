import { resolve } from 'node:path';
import type { CommandModule } from 'yargs';
import type { Config } from '../config/options.ts';
import { resolveConfig } from '../config/resolve.ts';
import type { Logger } from '../observability/logger.ts';
import type { RouterOptions } from '../router/options.ts';
import { openFile, secretsSource } from './credentials.ts';
import { fitConnections, readDescriptorLimit } from './descriptors.ts';
import { addOptions, flagsOf } from './flags.ts';
import type { CommandContext } from './io.ts';
import { runUntilSignal } from './signals.ts';

/** `relay router`: runs a router until it is told to stop. */
export function routerCommand({ io, version, completing }: CommandContext): CommandModule {
  return {
    command: 'router',
    describe: 'Run the router, which connectors and apps both reach',
    builder: (yargs) =>
      addOptions(yargs.usage('$0 router [options]'), 'router', { completing })
        .example('$0 router', 'on this machine only, at http://127.0.0.1:8080')
        .example('$0 router --store s3://datasets/relay', 'offloading to an S3-compatible store'),
    handler: async (args) => {
      const { values: config, sources, warnings } = resolveConfig('router', flagsOf(args), io.surroundings);
      const { openLog } = await import('./log.ts');
      using log = openLog('router', config);
      const { logger } = log;
      for (const warning of warnings) logger.warn(warning);
      const storeLocation = await storeLocationOf(config, io.surroundings.cwd);
      const { Router } = await import('../router/router.ts');
      const given = { text: config.secret, file: config.secretFile, fileSource: sources['secretFile'] };
      const options: RouterOptions = {
        ...toRouterOptions(config, maxConnectionsOf(config, logger)),
        secrets: secretsSource(given, logger),
        tls: openCertificate(config, logger),
        storeLocation,
        isStoreChosen: sources['store']?.from !== 'default',
        version,
        logger,
      };
      await runUntilSignal(() => Router.start(options), io.signals, logger);
    },
  };
}

async function storeLocationOf({ store }: Config<'router'>, cwd: string): Promise<RouterOptions['storeLocation']> {
  const { parseStoreLocation } = await import('../store/open-store.ts');
  // Like every path of the configuration, a directory starts from where relay was started.
  const directory = /^file:(.+)$/s.exec(store)?.[1];
  return parseStoreLocation(directory === undefined ? store : `file:${resolve(cwd, directory)}`);
}

/** Certificate and key are two files that seldom change in one instant: the server takes them when they fit together. */
function openCertificate({ tlsCert, tlsKey }: Config<'router'>, logger: Logger): RouterOptions['tls'] {
  if (tlsCert === undefined || tlsKey === undefined) return undefined;
  const cert = openFile('--tls-cert', tlsCert, (text) => text, logger);
  const key = openFile('--tls-key', tlsKey, (text) => text, logger);
  return () => ({ cert: cert.read(), key: key.read() });
}

/** Over the limit of open files a connection would be cut without a word: there are none beyond what it has room for. */
function maxConnectionsOf(config: Config<'router'>, logger: Logger): number {
  const openFiles = readDescriptorLimit();
  const { maxConnections, neededDescriptors } = fitConnections(config.maxConnections, openFiles);
  if (maxConnections < config.maxConnections) {
    logger.warn(
      { openFiles, wanted: config.maxConnections, maxConnections },
      `the limit of open files leaves room for ${maxConnections} connections, fewer than --max-connections; ` +
        `set it to ${neededDescriptors} (ulimit -n, LimitNOFILE=, nofile)`,
    );
  }
  return maxConnections;
}

function toRouterOptions(
  config: Config<'router'>,
  maxConnections: number,
): Omit<RouterOptions, 'secrets' | 'tls' | 'storeLocation' | 'isStoreChosen' | 'version' | 'logger'> {
  return {
    host: config.host,
    port: config.port,
    publicUrl: config.publicUrl,
    trustedProxies: config.trustedProxy,
    stateDir: config.stateDir,
    storeMaxBytes: config.storeMaxBytes,
    storeMinFreeBytes: config.storeMinFreeBytes,
    storeKeepMs: config.storeKeepMs,
    urlTtlMs: config.urlTtlMs,
    s3: {
      region: config.s3Region,
      endpoint: endpointOf(config.s3Endpoint),
      nodeEndpoint: endpointOf(config.s3NodeEndpoint),
      appEndpoint: endpointOf(config.s3AppEndpoint),
      pathStyle: config.s3PathStyle,
    },
    offloadOrigins: config.offloadOrigin,
    corsOrigins: config.corsOrigin,
    allowNoAuth: config.insecureNoAuth,
    bufferMaxBytes: config.bufferMaxBytes,
    bufferTotalBytes: config.bufferTotalBytes,
    windowTotalBytes: config.windowTotalBytes,
    limits: {
      maxRequests: config.maxRequests,
      maxRequestsPerClient: config.maxRequestsPerClient,
      maxRequestsPerConnector: config.maxRequestsPerConnector,
      maxBytesPerSecond: config.maxRateBytes,
      maxConnections,
      maxConnectionsPerAddress: config.maxConnectionsPerAddress,
      maxHeaderBytes: config.maxHeaderSizeBytes,
      bodyTotalBytes: config.bodyTotalBytes,
      handshakeTimeoutMs: config.handshakeTimeoutMs,
      headersTimeoutMs: config.headersTimeoutMs,
      bodyTimeoutMs: config.bodyTimeoutMs,
    },
    firstByteTimeoutMs: config.firstByteTimeoutMs,
    silenceTimeoutMs: config.silenceTimeoutMs,
    reconnectWaitMs: config.reconnectWaitMs,
    resumeWaitMs: config.resumeWaitMs,
    heartbeatIntervalMs: config.heartbeatIntervalMs,
    heartbeatTimeoutMs: config.heartbeatTimeoutMs,
    drainDelayMs: config.drainDelayMs,
    graceMs: config.graceMs,
  };
}

function endpointOf(url: URL | undefined): string | undefined {
  return url?.href.replace(/\/$/, '');
}
