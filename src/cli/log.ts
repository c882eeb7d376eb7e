import type { Config } from '../config/options.ts';
import { createLog, type Log } from '../observability/logger.ts';

/** The log of a role, as its configuration has it. */
export function openLog(role: 'router' | 'connector', config: Config<'router'> | Config<'connector'>): Log {
  const { logLevel, logFormat, logFile, logMaxSizeBytes, logMaxFiles } = config;
  const file = logFile === undefined ? undefined : { path: logFile, maxBytes: logMaxSizeBytes, maxFiles: logMaxFiles };
  return createLog({ role, level: logLevel, format: logFormat, file });
}
