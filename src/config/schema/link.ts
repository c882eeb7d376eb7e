import type { OptionDescriptor } from '../descriptor.ts';

/** Options of the two ends of a link, the router and the connector. */
export const LINK_OPTIONS = {
  'heartbeat-interval': {
    roles: ['router', 'connector'],
    kind: 'duration',
    group: 'Timing',
    default: '20s',
    min: 1,
    placeholder: 'TIME',
    summary: 'How often to say on the link that one is still there',
  },
  'heartbeat-timeout': {
    roles: ['router', 'connector'],
    kind: 'duration',
    group: 'Timing',
    default: '45s',
    min: 1,
    placeholder: 'TIME',
    summary: 'Silence after which the other side of the link counts as gone',
  },
  grace: {
    roles: ['router', 'connector'],
    kind: 'duration',
    group: 'Timing',
    default: '25s',
    placeholder: 'TIME',
    summary: 'How long SIGTERM lets work under way finish',
  },
} as const satisfies Readonly<Record<string, OptionDescriptor>>;
