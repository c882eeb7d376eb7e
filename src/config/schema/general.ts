import type { LogFormat, LogLevel } from '../../observability/logger.ts';
import type { OptionDescriptor } from '../descriptor.ts';

const LOG_LEVELS = [
  'trace',
  'debug',
  'info',
  'warn',
  'error',
  'fatal',
  'silent',
] as const satisfies readonly LogLevel[];
const LOG_FORMATS = ['auto', 'json', 'pretty'] as const satisfies readonly LogFormat[];

/** Options that every role has, or nearly. */
export const GENERAL_OPTIONS = {
  'log-level': {
    roles: ['router', 'connector', 'app'],
    kind: 'enum',
    values: LOG_LEVELS,
    group: 'General',
    default: 'info',
    placeholder: 'LEVEL',
    summary: 'Least important messages to log; debug also shows where in the code an error arose',
  },
  'log-format': {
    roles: ['router', 'connector'],
    kind: 'enum',
    values: LOG_FORMATS,
    group: 'General',
    default: 'auto',
    placeholder: 'FORMAT',
    summary: 'Form of log lines; auto is pretty on a terminal and JSON elsewhere',
  },
  'log-file': {
    roles: ['router', 'connector'],
    kind: 'path',
    group: 'General',
    placeholder: 'FILE',
    defaultText: 'standard error',
    summary: 'File to log to, rotated by size: FILE, FILE.1 and so on; while it cannot be written, standard error',
  },
  'log-max-size': {
    roles: ['router', 'connector'],
    kind: 'bytes',
    group: 'General',
    default: '10MiB',
    min: 1024,
    placeholder: 'SIZE',
    summary: 'Size beyond which --log-file is rotated',
  },
  'log-max-files': {
    roles: ['router', 'connector'],
    kind: 'integer',
    group: 'General',
    default: '5',
    min: 1,
    max: 1000,
    placeholder: 'N',
    summary: 'How many files of --log-file are kept, the current one included',
  },
  traceparent: {
    roles: ['app'],
    kind: 'string',
    group: 'General',
    placeholder: 'VALUE',
    alsoEnv: ['TRACEPARENT'],
    summary: 'Trace that the requests are a part of (W3C Trace Context), for the logs of all roles',
  },
  'env-file': {
    roles: ['router', 'connector', 'app', 'token'],
    kind: 'path',
    group: 'General',
    flagOnly: true,
    placeholder: 'FILE',
    defaultText: '.env, where there is one',
    summary: 'File to take RELAY_* and AWS_* variables from',
  },
  'print-config': {
    roles: ['router', 'connector', 'app', 'token'],
    kind: 'boolean',
    group: 'General',
    flagOnly: true,
    default: 'false',
    summary: 'Print each value and where it comes from, and exit',
  },
} as const satisfies Readonly<Record<string, OptionDescriptor>>;
