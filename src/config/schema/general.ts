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
