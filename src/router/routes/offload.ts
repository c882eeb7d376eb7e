import type { Context } from '../context.ts';
import { type OffloadWishes, wantsFresh } from '../patterns/offloading.ts';
import { sendError } from '../reply.ts';
import type { RequestRecord } from '../request-log.ts';
import { answerLater, readAsyncWait } from './answer-later.ts';
import type { Call } from './route.ts';

/** Has a dataset put into the store and answers with its URL: in JSON, as a redirect, or later where that is preferred. */
export async function answerOffload(
  context: Context,
  record: RequestRecord,
  call: Call,
  { redirect = false, ...wishes }: Omit<OffloadWishes, 'fresh'> & { readonly redirect?: boolean },
): Promise<void> {
  const { request, response } = call;
  const wait = readAsyncWait(request);
  const baseUrl = context.baseUrl.of(request);
  const outcome = context.offloads.offload(context, record, baseUrl, { ...wishes, fresh: wantsFresh(request) });
  if (wait !== undefined) return answerLater(context, record, call, wait, outcome);
  await outcome;
  if (record.error !== undefined) sendError(request, response, record.error);
  else if (redirect) {
    const { download_url: url = '' } = await record.describe(baseUrl);
    response.writeHead(307, { Location: url, 'Cache-Control': 'no-store', 'Content-Length': 0 }).end();
  } else await context.offloads.answer(record, baseUrl, response);
}
