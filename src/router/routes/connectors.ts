import type { DatasetInfo } from '../../protocol/answers.ts';
import { RelayError } from '../../protocol/errors.ts';
import { MAX_LIST_LIMIT } from '../../protocol/limits.ts';
import type { Mac } from '../../protocol/mac.ts';
import { askList } from '../patterns/catalog.ts';
import type { Context } from '../context.ts';
import { sendJson } from '../reply.ts';
import { readConnectorFilter } from './connector-filter.ts';
import { goneSignal } from './gone-signal.ts';
import { readMac, refuseWhileDraining } from './links.ts';
import type { Call, Route } from './route.ts';

const DEFAULT_LIST_LIMIT = 100;

/** The endpoints that show connectors and what they offer. */
export const connectorRoutes: Route[] = [
  {
    method: 'GET',
    path: '/connectors',
    scope: 'listing',
    handle(context, { response, query, grant }) {
      const { limit, cursor = '' } = readPage(query);
      const filter = readConnectorFilter(query);
      const covered = context.registry.list((mac) => mac > cursor && grant.coversMac(mac));
      const after = covered.filter((connector) => filter.matches(connector));
      const connectors = after.slice(0, limit);
      const next = after.length > limit ? connectors.at(-1)?.mac : undefined;
      sendPage(response, '/connectors', { connectors }, limit, next, filter.params);
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
  {
    method: 'GET',
    path: '/connectors/{mac}/datasets',
    scope: 'listing',
    async handle(context, call) {
      refuseWhileDraining(context);
      const mac = readMac(call.params);
      call.grant.requireMac(mac);
      const page = readPage(call.query);
      if (context.registry.describe(mac) === undefined) throw neverSeen(mac);
      const { datasets, next } = await listCovered(context, mac, page, call);
      sendPage(call.response, `/connectors/${mac}/datasets`, { datasets }, page.limit, next);
    },
  },
];

/** A page of the datasets that a token covers, as if there were no others: neither its length nor its cursor tells of them. */
async function listCovered(
  context: Context,
  mac: Mac,
  { limit, cursor }: { limit: number; cursor?: string },
  call: Call,
): Promise<{ datasets: DatasetInfo[]; next?: string }> {
  const signal = goneSignal(call);
  const found: DatasetInfo[] = [];
  for (let at = cursor; ; ) {
    const page = await askList(context, mac, { limit, ...(at !== undefined && { cursor: at }) }, signal);
    found.push(...page.datasets.filter(({ name }) => call.grant.coversDataset(name)));
    const isLast = page.next === undefined || page.next === at;
    if (found.length >= limit) {
      const datasets = found.slice(0, limit);
      const isMore = found.length > limit || !isLast;
      return { datasets, ...(isMore && { next: (datasets.at(-1) as DatasetInfo).name }) };
    }
    if (isLast) return { datasets: found };
    at = page.next;
  }
}

const neverSeen = (mac: string): RelayError =>
  new RelayError('connector_not_found', `no connector with the MAC address ${mac} was ever connected here`);

function readPage(query: URLSearchParams): { limit: number; cursor?: string } {
  const limit = query.get('limit') ?? String(DEFAULT_LIST_LIMIT);
  if (!/^\d{1,6}$/.test(limit) || Number(limit) < 1)
    throw new RelayError('invalid_request', 'limit must be a number from 1');
  const cursor = query.get('cursor');
  return { limit: Math.min(Number(limit), MAX_LIST_LIMIT), ...(cursor !== null && { cursor }) };
}

/** One page of a listing; `Link` names the next one, of the same filter, relative to this (RFC 8288). */
function sendPage(
  response: Call['response'],
  path: string,
  body: object,
  limit: number,
  next: string | undefined,
  filter: readonly [string, string][] = [],
): void {
  if (next === undefined) {
    sendJson(response, 200, body);
    return;
  }
  const query = new URLSearchParams([...filter, ['limit', String(limit)], ['cursor', next]]);
  const last = path.slice(path.lastIndexOf('/') + 1);
  sendJson(response, 200, { ...body, next }, { Link: `<${last}?${query}>; rel="next"` });
}
