import { RelayError } from '../../protocol/errors.ts';
import type { Context } from '../context.ts';
import { type OffloadWishes, wantsFresh } from '../patterns/offloading.ts';
import { sendError } from '../reply.ts';
import type { RequestRecord } from '../request-log.ts';
import { answerLater, readAsyncWait } from './answer-later.ts';
import type { Call } from './route.ts';
import { holderOf } from './url-holder.ts';

/** Has a dataset put into the store and answers with its URL: in JSON, as a redirect, or later where that is preferred. */
export async function answerOffload(
  context: Context,
  record: RequestRecord,
  call: Call,
  { redirect = false, ...wishes }: Omit<OffloadWishes, 'fresh'> & { readonly redirect?: boolean },
): Promise<void> {
  const { request, response, grant } = call;
  const wait = readAsyncWait(call);
  const wanted = { ...wishes, fresh: wantsFresh(request) };
  const outcome = context.offloads.offload(context, record, context.baseUrl.of(request), wanted);
  if (wait !== undefined) return answerLater(context, record, call, wait, outcome);
  await outcome;
  if (record.error !== undefined) {
    sendError(request, response, record.error);
    return;
  }
  const holder = holderOf(context, call);
  if (redirect) {
    const { download_url: url = '', expires_at: end } = await record.describe(holder);
    if (grant.isOfUrl && end === undefined) throw endlessUrl();
    response.writeHead(307, { Location: url, 'Cache-Control': 'no-store', 'Content-Length': 0 }).end();
  } else await context.offloads.answer(record, holder, response);
}

/** A signed URL must not lead to one that may be good for longer. */
const endlessUrl = (): RelayError =>
  new RelayError(
    'offload_unavailable',
    'this node has a store of its own, whose URLs end when the router cannot say; leave out via=offload',
  );
