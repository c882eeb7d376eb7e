import { heartbeat } from '../../protocol/answers.ts';
import { RelayError } from '../../protocol/errors.ts';
import { HEADER } from '../../protocol/headers.ts';
import { parseMac, type Mac } from '../../protocol/mac.ts';
import { describeClient } from '../client-address.ts';
import type { Context } from '../context.ts';
import { drainingError } from '../drain.ts';
import { readHello } from '../links/hello.ts';
import type { Hello } from '../links/link.ts';
import { SseLink, type SseLinks } from '../links/sse.ts';
import { readJson } from './read-json.ts';
import type { Call, Route } from './route.ts';

const MAX_HEARTBEAT_BYTES = 1024;

/** The endpoints by which connectors hold their link; the WebSocket one is an upgrade and not among them. */
export function linkRoutes(sse: SseLinks): Route[] {
  return [
    {
      method: 'GET',
      path: '/connectors/{mac}/events',
      scope: 'connector',
      isLink: true,
      handle(context, call) {
        const { request, response } = call;
        if (request.method === 'HEAD') throw new RelayError('method_not_allowed', 'use GET here');
        const hello = admitHello(context, call);
        sse.accept(request, response, hello, (link) => context.registry.connect(link));
      },
    },
    {
      method: 'GET',
      path: '/connectors/{mac}/socket',
      scope: 'connector',
      handle(_context, { response }) {
        response.setHeader('Upgrade', 'websocket');
        throw new RelayError(
          'invalid_request',
          'this endpoint is a WebSocket: the request needs Upgrade and Connection headers, which a proxy may have taken away',
        );
      },
    },
    {
      method: 'POST',
      path: '/connectors/{mac}/heartbeat',
      scope: 'connector',
      async handle(context, { request, response, params, grant }) {
        const mac = readMac(params);
        grant.requireMac(mac);
        const length = request.headers['content-length'] ?? '0';
        const hasBody = length !== '0' || request.headers['transfer-encoding'] !== undefined;
        const body = hasBody ? await readJson(context, request, heartbeat, MAX_HEARTBEAT_BYTES) : {};
        const link = context.registry.findLinkOf(mac);
        const named = request.headers[HEADER.linkId.toLowerCase()];
        if (!(link instanceof SseLink) || (named !== undefined && named !== link.id)) {
          throw new RelayError('request_gone', 'the router does not hold this link any more; connect again', {
            details: { retryable: true },
          });
        }
        link.heartbeat(body.event === 'draining');
        response.writeHead(204).end();
      },
    },
  ];
}

/**
 * Takes what a link begins with, whatever carries it.
 * @throws {RelayError} draining; invalid_request when the path names no MAC address; forbidden when the connector may not have
 * that one; too_many_requests when there were too many of late.
 */
export function admitHello(
  context: Context,
  { request, params, query, grant }: Pick<Call, 'request' | 'params' | 'query' | 'grant'>,
): Hello {
  refuseWhileDraining(context);
  const mac = readMac(params);
  grant.requireMac(mac);
  context.limits.admitLink(mac, request);
  const remote = describeClient(request, context.forwarding);
  return readHello(request, { mac, query, baseUrl: context.baseUrl.of(request), remote, grant });
}

/** @throws {RelayError} draining when new requests and new links are not taken any more. */
export function refuseWhileDraining({ state, options }: Context): void {
  if (state.draining) throw drainingError(options.graceMs);
}

/** @throws {RelayError} invalid_request when the path names no MAC address. */
export function readMac(params: Readonly<Record<string, string>>): Mac {
  const mac = parseMac(params['mac'] ?? '');
  if (mac instanceof RelayError) throw mac;
  return mac;
}
