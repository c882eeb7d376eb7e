import { once } from 'node:events';
import { namesOnlyJson, prefersHtml } from '../../http/accept.ts';
import { parseDatasetName } from '../../protocol/dataset-name.ts';
import { RelayError } from '../../protocol/errors.ts';
import { MAX_LIST_LIMIT } from '../../protocol/limits.ts';
import type { Mac } from '../../protocol/mac.ts';
import { DELIMITER } from '../../protocol/name-filter.ts';
import type { Context } from '../context.ts';
import { PAGE_HEADERS, renderEntries, renderFoot, renderHead } from '../listing-page.ts';
import type { ListWish } from '../patterns/catalog.ts';
import { type ListPage, listCovered } from '../patterns/listing.ts';
import { neverSeen } from './connectors.ts';
import { goneSignal } from './gone-signal.ts';
import { readMac, refuseWhileDraining } from './links.ts';
import { confirmMinAge, readMinAge } from './min-age.ts';
import { readPage, sendPage } from './page.ts';
import type { Call, Route } from './route.ts';

/** The endpoints that show what a connector offers: as JSON, and as pages of directories. */
export const listingRoutes: Route[] = [
  {
    method: 'GET',
    path: '/connectors/{mac}/datasets',
    scope: 'listing',
    async handle(context, call) {
      const mac = readSeen(context, call);
      const { request, response, query } = call;
      // A query is a program's, or somebody's who wants to see what a program gets.
      if (query.size === 0 && prefersHtml(request.headers.accept)) {
        response.writeHead(308, {
          Location: 'datasets/',
          'Content-Length': 0,
          'Cache-Control': 'no-store',
          Vary: 'Accept',
        });
        response.end();
        return;
      }
      await sendList(context, call, mac, readWish(call));
    },
  },
  { method: 'GET', path: '/connectors/{mac}/datasets/', scope: 'listing', handle: showDirectory },
  { method: 'GET', path: '/connectors/{mac}/datasets/{path...}/', scope: 'listing', handle: showDirectory },
];

async function showDirectory(context: Context, call: Call): Promise<void> {
  const mac = readSeen(context, call);
  const { path } = call.params;
  const checked = path === undefined ? '' : parseDatasetName(path);
  if (checked instanceof RelayError) throw checked;
  const prefix = path === undefined ? '' : `${checked}${DELIMITER}`;
  const wish = { prefix, delimiter: DELIMITER } as const;
  const page = { ...readWish(call), ...wish };
  if (namesOnlyJson(call.request.headers.accept)) await sendList(context, call, mac, page);
  else await sendDirectory(context, call, mac, { ...page, limit: MAX_LIST_LIMIT, cursor: undefined });
}

/** The connector that is asked for, if it was ever there. */
function readSeen(context: Context, { params, grant }: Call): Mac {
  refuseWhileDraining(context);
  const mac = readMac(params);
  grant.requireMac(mac);
  if (context.registry.describe(mac) === undefined) throw neverSeen(mac);
  return mac;
}

function readWish(call: Call): ListWish {
  const { query } = call;
  const minAgeS = readMinAge(query);
  confirmMinAge(call, minAgeS);
  const [prefix, glob] = ['prefix', 'glob'].map((name) => query.get(name) || undefined);
  const delimiter = query.get('delimiter');
  if (delimiter !== null && delimiter !== DELIMITER)
    throw new RelayError('invalid_request', `delimiter can only be ${DELIMITER}`);
  return { ...readPage(query), prefix, glob, delimiter: delimiter ?? undefined, minAgeS };
}

async function sendList(context: Context, call: Call, mac: Mac, wish: ListWish): Promise<void> {
  const { entries, next } = await listCovered(context, mac, wish, call.grant, goneSignal(call));
  const datasets = entries.flatMap(({ dataset }) => dataset ?? []);
  const prefixes = entries.filter(({ dataset }) => dataset === undefined).map(({ key }) => key);
  const body = { datasets, ...(wish.delimiter !== undefined && { prefixes }) };
  sendPage(call, body, wish.limit, next, { Vary: 'Accept' });
}

/**
 * A directory as a page of HTML, which is asked for and written a part at a time, no faster than it is read. What fails
 * after the first part resets the connection.
 */
async function sendDirectory(
  context: Context,
  call: Call,
  mac: Mac,
  wish: ListWish & { readonly prefix: string },
): Promise<void> {
  const { request, response, grant } = call;
  const signal = goneSignal(call);
  const ask = (cursor?: string): Promise<ListPage> => listCovered(context, mac, { ...wish, cursor }, grant, signal);
  let page = await ask();
  if (page.entries.length === 0 && wish.prefix !== '')
    throw new RelayError('dataset_not_found', `there is no dataset below ${JSON.stringify(wish.prefix)}`);
  response.writeHead(200, PAGE_HEADERS);
  if (request.method === 'HEAD') {
    response.end();
    return;
  }
  const write = async (text: string): Promise<void> => {
    if (response.write(text)) return;
    await once(response, 'drain', { signal }).catch(() => signal.throwIfAborted());
  };
  await write(renderHead(context.registry.describe(mac)?.name ?? mac, wish.prefix));
  const counts = { datasets: 0, directories: 0 };
  for (;;) {
    await write(renderEntries(page.entries));
    for (const { dataset } of page.entries) counts[dataset === undefined ? 'directories' : 'datasets']++;
    if (page.next === undefined) break;
    page = await ask(page.next);
  }
  response.end(renderFoot(counts));
}
