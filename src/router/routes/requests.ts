import type { IncomingMessage } from 'node:http';
import { datasetRequest, type DigestAnswer } from '../../protocol/app.ts';
import { RelayError } from '../../protocol/errors.ts';
import { HEADER } from '../../protocol/headers.ts';
import { MAX_CONTROL_BODY_BYTES } from '../../protocol/limits.ts';
import { readRouterId } from '../../protocol/request-id.ts';
import type { Context } from '../context.ts';
import { buffer } from '../patterns/buffering.ts';
import { askDigest } from '../patterns/catalog.ts';
import { stream } from '../patterns/streaming.ts';
import { sendError, sendJson } from '../reply.ts';
import type { RequestKind, RequestRecord } from '../request-log.ts';
import { goneSignal } from './gone-signal.ts';
import { refuseWhileDraining } from './links.ts';
import { openRequest } from './open-request.ts';
import { readJson } from './read-json.ts';
import { readRepresentation, type Representation } from './representation.ts';
import type { Call, Route } from './route.ts';

/** Longest wait of a long poll, in seconds: under the limits at which proxies cut silence. */
const MAX_WAIT_S = 55;

/** The endpoints by which apps ask for datasets and follow their requests. */
export const requestRoutes: Route[] = [
  request('sync', (context, record, call, representation) =>
    buffer(context, record, call.request, call.response, representation),
  ),
  request('stream', (context, record, call, representation) =>
    stream(context, record, call.request, call.response, representation),
  ),
  request('offload', async (context, record, call, { wantDigest }) => {
    const { request: message, response } = call;
    const wanted = { baseUrl: context.baseUrl.of(message), fresh: wantsFresh(message), wantDigest };
    const wait = readAsyncWait(call);
    if (wait === undefined) await context.offloads.answer(context, record, message, response, wanted);
    else await answerLater(context, record, call, wait, context.offloads.offload(context, record, wanted));
  }),
  request('digest', async (context, record, call) => {
    const digesting = digest(context, record);
    const wait = readAsyncWait(call);
    if (wait !== undefined) return answerLater(context, record, call, wait, digesting);
    await digesting;
    if (record.error === undefined) sendJson(call.response, 200, digestAnswer(record));
    else sendError(call.request, call.response, record.error);
  }),

  {
    method: 'GET',
    path: '/requests/{id}',
    scope: 'app',
    async handle(context, call) {
      const { request: message, response, query } = call;
      const record = findRecord(context, call);
      const wait = Math.min(Number(query.get('wait') ?? 0) || 0, MAX_WAIT_S);
      if (wait > 0) await record.whenEnded(wait * 1000, goneSignal({ response }));
      sendJson(response, 200, await record.describe(context.baseUrl.of(message)), { [HEADER.requestId]: record.id });
    },
  },
  {
    method: 'DELETE',
    path: '/requests/{id}',
    scope: 'app',
    handle(context, call) {
      findRecord(context, call).cancel('the request was cancelled');
      call.response.writeHead(204).end();
    },
  },
];

function request(
  kind: RequestKind,
  start: (context: Context, record: RequestRecord, call: Call, wanted: Representation) => void | Promise<void>,
): Route {
  return {
    method: 'POST',
    path: `/datasets/request-${kind}`,
    scope: 'app',
    async handle(context, call) {
      refuseWhileDraining(context);
      const { mac, dataset } = await readJson(context, call.request, datasetRequest, MAX_CONTROL_BODY_BYTES);
      call.grant.requireDataset(mac, dataset);
      const wanted = readRepresentation(call.request);
      const outlives = (kind === 'offload' || kind === 'digest') && readAsyncWait(call) !== undefined;
      const record = openRequest(context, call, { kind, mac, dataset, keep: outlives || wanted.wantDigest, outlives });
      await start(context, record, call, wanted);
    },
  };
}

async function digest(context: Context, record: RequestRecord): Promise<void> {
  const abort = new AbortController();
  record.onAbort((error) => abort.abort(error));
  record.run();
  const { id, mac, dataset } = record;
  const onProgress = (bytesDone: number, totalSize: number | undefined): void => {
    record.progress = () => ({ bytesDone, totalSize });
  };
  try {
    const {
      size,
      etag,
      digest: value,
    } = await askDigest(context, { id, mac, dataset, signal: abort.signal, onProgress });
    record.progress = () => ({ bytesDone: size, totalSize: size, etag, digest: value });
    record.succeed();
  } catch (error) {
    record.fail(RelayError.from(error));
  }
}

function digestAnswer(record: RequestRecord): DigestAnswer {
  const { totalSize = 0, etag, digest: value } = record.progress();
  return { size: totalSize, ...(etag !== undefined && { etag }), digest: value as string };
}

/** Whether what was kept shall not be used (RFC 9111 §5.2.1.4). */
const wantsFresh = ({ headers }: IncomingMessage): boolean =>
  /(?:^|,)\s*no-cache\s*(?:,|$)/i.test(headers['cache-control'] ?? '');

/** 202 at once, or after waiting as long as was preferred (RFC 7240 §4.1, §4.3). */
async function answerLater(
  context: Context,
  record: RequestRecord,
  { request: message, response }: Call,
  waitMs: number,
  outcome: Promise<void>,
): Promise<void> {
  void outcome;
  if (waitMs > 0) await record.whenEnded(waitMs, goneSignal({ response }));
  if (record.error !== undefined && waitMs > 0) {
    sendError(message, response, record.error);
    return;
  }
  const baseUrl = context.baseUrl.of(message);
  const location = `${baseUrl}/requests/${record.id}`;
  const body = { ...(await record.describe(baseUrl)), location };
  sendJson(response, 202, body, {
    [HEADER.requestId]: record.id,
    Location: location,
    'Preference-Applied': 'respond-async',
    'Retry-After': '1',
  });
}

/** The ms to wait before answering asynchronously; undefined where that was not preferred. */
function readAsyncWait({ request: message }: Call): number | undefined {
  const preferences = [message.headers['prefer'] ?? []].flat().join(',');
  const wait = /(?:^|,)\s*wait\s*=\s*"?(\d{1,6})/i.exec(preferences);
  if (wait !== null) return Math.min(Number(wait[1]), MAX_WAIT_S) * 1000;
  return /(?:^|,)\s*respond-async\b/i.test(preferences) ? 0 : undefined;
}

function findRecord(context: Context, { params, grant }: Call): RequestRecord {
  const id = params['id'] ?? '';
  const record = context.requests.find(id);
  if (record !== undefined) {
    grant.requireDataset(record.mac, record.dataset);
    return record;
  }
  // One from before a restart may be asked for anew; so may one of another router, as far as this one knows.
  const retryable = readRouterId(id) !== context.routerId;
  throw new RelayError('request_gone', 'there is no such request; it has ended long ago, or the router was restarted', {
    details: { retryable },
  });
}
