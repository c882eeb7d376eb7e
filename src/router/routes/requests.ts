import { datasetRequest, type DigestAnswer } from '../../protocol/app.ts';
import { RelayError } from '../../protocol/errors.ts';
import { HEADER } from '../../protocol/headers.ts';
import { MAX_CONTROL_BODY_BYTES } from '../../protocol/limits.ts';
import { readRouterId } from '../../protocol/request-id.ts';
import type { Context } from '../context.ts';
import { buffer } from '../patterns/buffering.ts';
import { askDigest } from '../patterns/catalog.ts';
import { stream } from '../patterns/streaming.ts';
import { describeGrowth, type Wanted } from '../dataset-answer.ts';
import { sendError, sendJson } from '../reply.ts';
import type { RequestKind, RequestRecord } from '../request-log.ts';
import { answerLater, MAX_WAIT_S, readAsyncWait } from './answer-later.ts';
import { holdToIfMatch } from './dataset-conditions.ts';
import { goneSignal } from './gone-signal.ts';
import { refuseWhileDraining } from './links.ts';
import { answerOffload } from './offload.ts';
import { openRequest } from './open-request.ts';
import { readJson } from './read-json.ts';
import { readRepresentation, type Representation } from './representation.ts';
import type { Call, Route } from './route.ts';

/** The endpoints by which apps ask for datasets and follow their requests. */
export const requestRoutes: Route[] = [
  request('sync', (context, record, call, wanted) => buffer(context, record, call.request, call.response, wanted)),
  request('stream', (context, record, call, wanted) => stream(context, record, call.request, call.response, wanted)),
  request('offload', (context, record, call, wanted) => answerOffload(context, record, call, wanted)),
  request('digest', async (context, record, call, wanted) => {
    const digesting = digest(context, record, wanted);
    const wait = readAsyncWait(call.request);
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

/** How a dataset is wanted, and what it has to be. */
type Order = Representation & Pick<Wanted, 'ifMatch' | 'admit'>;

function request(
  kind: RequestKind,
  start: (context: Context, record: RequestRecord, call: Call, wanted: Order) => void | Promise<void>,
): Route {
  return {
    method: 'POST',
    path: `/datasets/request-${kind}`,
    scope: 'app',
    async handle(context, call) {
      refuseWhileDraining(context);
      const body = await readJson(context, call.request, datasetRequest, MAX_CONTROL_BODY_BYTES);
      const { mac, dataset, on_change: onChange, min_age: minAgeS } = body;
      call.grant.requireDataset(mac, dataset);
      const wanted = { ...readRepresentation(call.request), ...holdToIfMatch(call.request.headers) };
      const outlives = (kind === 'offload' || kind === 'digest') && readAsyncWait(call.request) !== undefined;
      const keep = outlives || wanted.wantDigest;
      const record = openRequest(context, call, { kind, mac, dataset, onChange, minAgeS, keep, outlives });
      await start(context, record, call, wanted);
    },
  };
}

async function digest(context: Context, record: RequestRecord, { ifMatch, admit }: Order): Promise<void> {
  const abort = new AbortController();
  record.onAbort((error) => abort.abort(error));
  record.run();
  const { id, mac, dataset, onChange, minAgeS } = record;
  const onProgress = (bytesDone: number, totalSize: number | undefined): void => {
    record.progress = () => ({ bytesDone, totalSize });
  };
  try {
    const {
      size,
      etag,
      digest: value,
      currentSize,
    } = await askDigest(context, { id, mac, dataset, onChange, minAgeS, ifMatch, signal: abort.signal, onProgress });
    admit?.(etag === undefined ? {} : { etag });
    record.progress = () => ({ bytesDone: size, totalSize: size, etag, digest: value, currentSize });
    record.succeed();
  } catch (error) {
    record.fail(RelayError.from(error));
  }
}

function digestAnswer(record: RequestRecord): DigestAnswer {
  const { totalSize = 0, etag, digest: value, currentSize } = record.progress();
  return {
    size: totalSize,
    ...(etag !== undefined && { etag }),
    digest: value as string,
    ...describeGrowth(record.onChange, currentSize),
  };
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
