import type { ErrorCode } from '../../protocol/errors.ts';
import type { Operations } from './operation.ts';
import type { RequestHeader } from './parameters.ts';

const HELLO: readonly RequestHeader[] = [
  'Relay-Capabilities',
  'Relay-Protocol',
  'Relay-Version',
  'Relay-Name',
  'Relay-Labels',
  'Relay-Instance',
];

const REFUSED: readonly ErrorCode[] = ['upgrade_required', 'draining'];

/** The endpoints by which connectors hold their link. */
export const linkOperations: Operations = {
  'GET /connectors/{mac}/socket': {
    id: 'openSocket',
    summary: "A connector's link over WebSocket",
    description: 'An upgrade with the subprotocol `relay.v1`. Commands are text messages of JSON.',
    query: ['capabilities'],
    headers: HELLO,
    answers: { 101: { description: 'The link is open.' } },
    errors: REFUSED,
  },
  'GET /connectors/{mac}/events': {
    id: 'openEvents',
    summary: "A connector's link over Server-Sent Events",
    description: 'A command is one `data:` line of JSON. The answer has no end.',
    query: ['capabilities'],
    headers: HELLO,
    answers: {
      200: {
        description: 'The link is open.',
        content: { 'text/event-stream': { type: 'string' } },
        headers: ['Relay-Link-Id'],
      },
    },
    errors: REFUSED,
  },
  'POST /connectors/{mac}/heartbeat': {
    id: 'postHeartbeat',
    summary: 'A sign of life of a connector with a link over Server-Sent Events',
    headers: ['Relay-Link-Id'],
    body: { content: { 'application/json': 'Heartbeat' }, optional: true },
    answers: { 204: { description: 'The router holds the link.' } },
    errors: ['request_gone', 'request_timeout'],
  },
};
