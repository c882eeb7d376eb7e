import type { CommandModule } from 'yargs';
import type { Config } from '../config/options.ts';
import { readProxySettings } from '../config/proxy.ts';
import { resolveConfig } from '../config/resolve.ts';
import type { ConnectorOptions } from '../connector/options.ts';
import { createProxyChooser } from '../http/proxy/choose-proxy.ts';
import { nameProxy } from '../http/proxy/proxy-error.ts';
import { certificatesSource } from './certificates.ts';
import { tokenSource } from './credentials.ts';
import { addOptions, flagsOf } from './flags.ts';
import type { CommandContext } from './io.ts';
import { runUntilSignal } from './signals.ts';

/** `relay connector`: runs a connector until it is told to stop. */
export function connectorCommand({ io, version, completing }: CommandContext): CommandModule {
  return {
    command: 'connector',
    describe: 'Run the connector on the node whose data directory is offered',
    builder: (yargs) =>
      addOptions(yargs.usage('$0 connector --router URL --mac MAC --data-dir DIR [options]'), 'connector', {
        completing,
      }).example('$0 connector --router http://127.0.0.1:8080 --mac cc-28-aa-01-02-03 --data-dir ./data', ''),
    handler: async (args) => {
      const { values: config, sources, warnings } = resolveConfig('connector', flagsOf(args), io.surroundings);
      const chooseProxy = createProxyChooser(readProxySettings(config.proxy, io.surroundings.env));
      const { openLog } = await import('./log.ts');
      using log = openLog('connector', config);
      const { logger } = log;
      for (const warning of warnings) logger.warn(warning);
      const given = { text: config.token, file: config.tokenFile, fileSource: sources['tokenFile'] };
      const token = tokenSource(given, logger);
      const ca = certificatesSource(config.ca, logger);
      const { Connector } = await import('../connector/connector.ts');
      const connector = new Connector({ ...toConnectorOptions(config), token, ca, chooseProxy, version, logger });
      const { mac, dataDir } = config;
      const proxy = chooseProxy(config.router);
      logger.info(
        {
          mac,
          router: config.router.href,
          data_dir: dataDir,
          version,
          pid: process.pid,
          ...(proxy && { proxy: nameProxy(proxy) }),
        },
        `connector ${mac} offers ${dataDir} through ${config.router.href}`,
      );
      const start = () => ({
        done: connector.run(),
        drain: () => connector.drain(),
        close: () => connector.close(),
      });
      await runUntilSignal(start, io.signals, logger);
    },
  };
}

function toConnectorOptions(
  config: Config<'connector'>,
): Omit<ConnectorOptions, 'token' | 'ca' | 'chooseProxy' | 'version' | 'logger'> {
  return {
    routerUrl: config.router,
    mac: config.mac,
    dataDir: config.dataDir,
    name: config.name,
    labels: config.label,
    allowHttp: config.allowHttp,
    transport: config.transport,
    offload: config.offload,
    hidden: config.hidden,
    minAgeMs: config.minAgeMs,
    maxConcurrentRequests: config.maxConcurrent,
    maxQueuedRequests: config.maxQueued,
    maxParallel: config.maxParallel,
    maxBytesPerSecond: config.maxRateBytes,
    heartbeatIntervalMs: config.heartbeatIntervalMs,
    heartbeatTimeoutMs: config.heartbeatTimeoutMs,
    connectTimeoutMs: config.connectTimeoutMs,
    reconnectMinMs: config.reconnectMinMs,
    reconnectMaxMs: config.reconnectMaxMs,
    websocketRetryMs: config.websocketRetryMs,
    giveUpAfterMs: config.giveUpAfterMs,
    graceMs: config.graceMs,
  };
}
