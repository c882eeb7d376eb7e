import { isIPv4 } from 'node:net';
import { RelayError } from '../protocol/errors.ts';
import type { Role } from './descriptor.ts';
import type { Config } from './options.ts';

/**
 * Checks what no option can tell on its own.
 * @throws {RelayError} `usage`, naming the options that do not go together
 */
export function checkTogether(role: Role, config: unknown): void {
  if (role === 'router') checkRouter(config as Config<'router'>);
  if (role === 'connector') checkConnector(config as Config<'connector'>);
}

function checkRouter(config: Config<'router'>): void {
  if ((config.tlsCert === undefined) !== (config.tlsKey === undefined)) {
    const [given, missing] = config.tlsCert === undefined ? ['--tls-key', '--tls-cert'] : ['--tls-cert', '--tls-key'];
    throw new RelayError('usage', `${given} needs ${missing} as well`);
  }
  const hasSecret = config.secret !== undefined || config.secretFile !== undefined;
  if (hasSecret && config.insecureNoAuth) {
    throw new RelayError(
      'usage',
      '--insecure-no-auth asks nobody for a token, and a secret asks everybody: give one of them',
    );
  }
  if (!isLoopback(config.host) && !hasSecret && !config.insecureNoAuth) {
    throw new RelayError(
      'usage',
      `--host ${config.host} is beyond loopback, and without a secret the router asks nobody for a token: whoever reaches the ` +
        'port could read every dataset and pose as any node. Set RELAY_SECRET or --secret-file, or stay on 127.0.0.1 ' +
        '(--insecure-no-auth lifts this check)',
    );
  }
  if (config.corsOrigin.includes('*') && !hasSecret) {
    throw new RelayError(
      'usage',
      '--cors-origin * lets the pages of every web site ask, and without a secret nobody is asked for a token: whoever opens ' +
        'one would show it every dataset. Name the origins, or set RELAY_SECRET or --secret-file',
    );
  }
  if (config.bufferMaxBytes > config.bufferTotalBytes) {
    throw new RelayError(
      'usage',
      '--buffer-max is more than --buffer-total, so that its largest dataset would never fit',
    );
  }
  if (config.drainDelayMs > config.graceMs) {
    throw new RelayError('usage', '--drain-delay is more than --grace, of which it is a part');
  }
  checkHeartbeats(config);
}

function checkConnector(config: Config<'connector'>): void {
  if (config.reconnectMinMs > config.reconnectMaxMs) {
    throw new RelayError('usage', '--reconnect-min is more than --reconnect-max');
  }
  checkHeartbeats(config);
}

function checkHeartbeats({
  heartbeatIntervalMs,
  heartbeatTimeoutMs,
}: Pick<Config<'router'>, 'heartbeatIntervalMs' | 'heartbeatTimeoutMs'>): void {
  if (heartbeatTimeoutMs <= heartbeatIntervalMs) {
    throw new RelayError(
      'usage',
      '--heartbeat-timeout must be more than --heartbeat-interval, else every quiet link counts as gone',
    );
  }
}

/** Whether only this machine can reach a server that listens on `host`. */
function isLoopback(host: string): boolean {
  const bare = host.replace(/^\[(.*)\]$/, '$1').toLowerCase();
  return bare === 'localhost' || bare === '::1' || (isIPv4(bare) && bare.startsWith('127.'));
}
