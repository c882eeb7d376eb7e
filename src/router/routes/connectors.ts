import { RelayError } from '../../protocol/errors.ts';
import { sendJson } from '../reply.ts';
import { readConnectorFilter } from './connector-filter.ts';
import { readMac } from './links.ts';
import { readPage, sendPage } from './page.ts';
import type { Route } from './route.ts';

/** The endpoints that show connectors. */
export const connectorRoutes: Route[] = [
  {
    method: 'GET',
    path: '/connectors',
    scope: 'listing',
    handle(context, call) {
      const { query, grant } = call;
      const { limit, cursor = '' } = readPage(query);
      const filter = readConnectorFilter(query);
      const covered = context.registry.list((mac) => mac > cursor && grant.coversMac(mac));
      const after = covered.filter((connector) => filter.matches(connector));
      const connectors = after.slice(0, limit);
      const next = after.length > limit ? connectors.at(-1)?.mac : undefined;
      sendPage(call, { connectors }, limit, next);
    },
  },
  {
    method: 'GET',
    path: '/connectors/{mac}',
    scope: 'listing',
    handle(context, { response, params, grant }) {
      const mac = readMac(params);
      grant.requireMac(mac);
      const info = context.registry.describe(mac);
      if (info === undefined) throw neverSeen(mac);
      sendJson(response, 200, info);
    },
  },
];

/** For a MAC address of which nothing is known. */
export const neverSeen = (mac: string): RelayError =>
  new RelayError('connector_not_found', `no connector with the MAC address ${mac} was ever connected here`);
