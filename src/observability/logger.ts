import { type DestinationStream, destination, type Logger, pino } from 'pino';
import { prettyFactory } from 'pino-pretty';
import { traceIdOf } from '../protocol/trace-context.ts';
import { LogFile } from './log-file.ts';
import { currentTrace } from './trace.ts';

export type { Logger };

const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/** `json`: a line of JSON each; `pretty`: for people; `auto`: pretty on a terminal. */
const LOG_FORMATS = ['auto', 'json', 'pretty'] as const;
export type LogFormat = (typeof LOG_FORMATS)[number];

/** Lines that standard error does not take are kept up to this, and then dropped. */
const MAX_UNWRITTEN_BYTES = 1024 * 1024;

export interface LoggerOptions {
  /** The role that speaks, as the `role` member of every line. */
  readonly role: string;
  readonly level: LogLevel;
  readonly format: LogFormat;
  /** Where the log goes in place of standard error; rotated by size, so many files being kept in all. */
  readonly file?: { readonly path: string; readonly maxBytes: number; readonly maxFiles: number } | undefined;
}

/** A logger with what it writes to. */
export interface Log extends Disposable {
  readonly logger: Logger;
}

/** A structured logger with times in RFC 3339, on standard error or in a file. Every line is out when its call returns. */
export function createLog({ role, level, format, file }: LoggerOptions): Log {
  const isTerminal = file === undefined && process.stderr.isTTY;
  const stderr = destination({ dest: 2, sync: true, maxLength: MAX_UNWRITTEN_BYTES });
  // A log that nobody can take (a full disk, a pipe that was closed) is no reason to stop working.
  stderr.on('error', () => {});
  const target = file === undefined ? undefined : new LogFile({ ...file, fallback: (line) => void stderr.write(line) });
  const plain: DestinationStream = target ?? stderr;
  const isPretty = format === 'pretty' || (format === 'auto' && isTerminal);
  const stream = isPretty ? prettify(plain, role, isTerminal) : plain;
  const logger = pino(
    {
      level,
      base: { role },
      mixin: () => {
        const trace = currentTrace();
        return trace === undefined ? {} : { trace_id: traceIdOf(trace) };
      },
      timestamp: () => `,"time":"${new Date().toISOString()}"`,
      formatters: { level: (label) => ({ level: label }) },
    },
    stream,
  );
  return { logger, [Symbol.dispose]: () => target?.close() };
}

function prettify(plain: DestinationStream, role: string, colorize: boolean): DestinationStream {
  const format = prettyFactory({
    colorize,
    translateTime: 'SYS:HH:MM:ss.l',
    ignore: 'pid,hostname,role',
    messageFormat: `${role}: {msg}`,
    singleLine: true,
  });
  return { write: (line) => plain.write(format(line)) };
}

/** A logger that says nothing. */
export const silentLogger = (): Logger => pino({ level: 'silent' });
