import { type DestinationStream, destination, type Logger, pino } from 'pino';
import { PinoPretty } from 'pino-pretty';

export type { Logger };

const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/** `json`: a line of JSON each; `pretty`: for people; `auto`: pretty on a terminal. */
const LOG_FORMATS = ['auto', 'json', 'pretty'] as const;
export type LogFormat = (typeof LOG_FORMATS)[number];

export interface LoggerOptions {
  /** The role that speaks, as the `role` member of every line. */
  readonly role: string;
  readonly level: LogLevel;
  readonly format: LogFormat;
}

/** A structured logger on standard error, with times in RFC 3339. */
export function createLogger({ role, level, format }: LoggerOptions): Logger {
  const pretty = format === 'pretty' || (format === 'auto' && process.stderr.isTTY);
  const stream: DestinationStream = pretty
    ? PinoPretty({
        destination: 2,
        sync: true,
        colorize: process.stderr.isTTY,
        translateTime: 'SYS:HH:MM:ss.l',
        ignore: 'pid,hostname,role',
        messageFormat: `${role}: {msg}`,
      })
    : destination({ dest: 2, sync: true });
  return pino(
    {
      level,
      base: { role },
      timestamp: () => `,"time":"${new Date().toISOString()}"`,
      formatters: { level: (label) => ({ level: label }) },
    },
    stream,
  );
}

/** A logger that says nothing. */
export const silentLogger = (): Logger => pino({ level: 'silent' });
