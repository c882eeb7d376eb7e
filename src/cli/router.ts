import { resolve } from 'node:path';
import type { CommandModule } from 'yargs';
import type { Config } from '../config/options.ts';
import { resolveConfig } from '../config/resolve.ts';
import type { RouterOptions } from '../router/options.ts';
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
      const { values: config, warnings } = resolveConfig('router', flagsOf(args), io.surroundings);
      const { createLogger } = await import('../observability/logger.ts');
      const logger = createLogger({ role: 'router', level: config.logLevel, format: config.logFormat });
      for (const warning of warnings) logger.warn(warning);
      const storeLocation = await storeLocationOf(config, io.surroundings.cwd);
      const { Router } = await import('../router/router.ts');
      const router = await Router.start({ ...toRouterOptions(config), storeLocation, version, logger });
      await runUntilSignal(router, io.signals, logger);
    },
  };
}

async function storeLocationOf({ store }: Config<'router'>, cwd: string): Promise<RouterOptions['storeLocation']> {
  const { parseStoreLocation } = await import('../store/open-store.ts');
  // Like every path of the configuration, a directory starts from where relay was started.
  const directory = /^file:(.+)$/s.exec(store)?.[1];
  return parseStoreLocation(directory === undefined ? store : `file:${resolve(cwd, directory)}`);
}

function toRouterOptions(config: Config<'router'>): Omit<RouterOptions, 'storeLocation' | 'version' | 'logger'> {
  const { tlsCert, tlsKey } = config;
  return {
    host: config.host,
    port: config.port,
    publicUrl: config.publicUrl,
    trustedProxies: config.trustedProxy,
    tls: tlsCert !== undefined && tlsKey !== undefined ? { certFile: tlsCert, keyFile: tlsKey } : undefined,
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
    allowNoAuth: config.insecureNoAuth,
    bufferMaxBytes: config.bufferMaxBytes,
    bufferTotalBytes: config.bufferTotalBytes,
    firstByteTimeoutMs: config.firstByteTimeoutMs,
    silenceTimeoutMs: config.silenceTimeoutMs,
    reconnectWaitMs: config.reconnectWaitMs,
    heartbeatIntervalMs: config.heartbeatIntervalMs,
    heartbeatTimeoutMs: config.heartbeatTimeoutMs,
    graceMs: config.graceMs,
  };
}

function endpointOf(url: URL | undefined): string | undefined {
  return url?.href.replace(/\/$/, '');
}
