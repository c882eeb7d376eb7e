import { TOKEN_ROLES } from '../../protocol/token.ts';
import type { OptionDescriptor } from '../descriptor.ts';

/** Options about who may do what, and how one shows it. */
export const ACCESS_OPTIONS = {
  secret: {
    roles: ['router', 'token'],
    kind: 'string',
    group: 'Access',
    secret: true,
    placeholder: 'TEXT',
    summary: 'Secret of 32 characters or more that tokens are signed and verified with',
  },
  'secret-file': {
    roles: ['router', 'token'],
    kind: 'path',
    group: 'Access',
    placeholder: 'FILE',
    summary:
      'File of secrets, in place of RELAY_SECRET: one a line, the first signs, all verify; read again when it changes',
  },
  token: {
    roles: ['connector', 'app'],
    kind: 'string',
    group: 'Access',
    secret: true,
    placeholder: 'TOKEN',
    summary: 'Token that the router asks for, as `relay token create` prints it',
  },
  'token-file': {
    roles: ['connector', 'app'],
    kind: 'path',
    group: 'Access',
    placeholder: 'FILE',
    summary: 'File that holds the token, in place of RELAY_TOKEN; read again when it changes',
  },
  'allow-http': {
    roles: ['connector', 'app'],
    kind: 'boolean',
    group: 'Access',
    default: 'false',
    summary:
      'Send the token over plain HTTP to other machines and proxies as well, where everybody on the way can read it',
  },
  role: {
    roles: ['token'],
    kind: 'enum',
    values: TOKEN_ROLES,
    group: 'Token',
    flagOnly: true,
    requiredFor: ['token'],
    placeholder: 'ROLE',
    summary: 'What the holder of the token is; an app asks for datasets, a monitor reads listings and metrics',
  },
  dataset: {
    roles: ['token'],
    kind: 'list',
    group: 'Token',
    flagOnly: true,
    placeholder: 'GLOB',
    summary: 'Glob of datasets that it covers; * stops at a slash, ** does not; may be repeated (needed for an app)',
  },
  expires: {
    roles: ['token'],
    kind: 'duration',
    group: 'Token',
    flagOnly: true,
    default: '90d',
    canBeOff: true,
    min: 1000,
    max: 3650 * 24 * 3_600_000,
    placeholder: 'TIME',
    summary: 'How long the token is good for; off for ever',
  },
} as const satisfies Readonly<Record<string, OptionDescriptor>>;
