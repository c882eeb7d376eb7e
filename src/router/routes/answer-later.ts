import { HEADER } from '../../protocol/headers.ts';
import type { Context } from '../context.ts';
import { sendError, sendJson } from '../reply.ts';
import type { RequestRecord } from '../request-log.ts';
import { goneSignal } from './gone-signal.ts';
import type { Call } from './route.ts';
import { holderOf } from './url-holder.ts';

/** Longest wait of a long poll, in seconds: under the limits at which proxies cut silence. */
export const MAX_WAIT_S = 55;

/** 202 at once, or after waiting as long as was preferred (RFC 7240 §4.1, §4.3). */
export async function answerLater(
  context: Context,
  record: RequestRecord,
  call: Call,
  waitMs: number,
  outcome: Promise<void>,
): Promise<void> {
  const { request: message, response } = call;
  void outcome;
  if (waitMs > 0) await record.whenEnded(waitMs, goneSignal({ response }));
  if (record.error !== undefined && waitMs > 0) {
    sendError(message, response, record.error);
    return;
  }
  const holder = holderOf(context, call);
  const location = `${holder.baseUrl}/requests/${record.id}`;
  const body = { ...(await record.describe(holder)), location };
  sendJson(response, 202, body, {
    [HEADER.requestId]: record.id,
    Location: location,
    'Preference-Applied': 'respond-async',
    'Retry-After': '1',
  });
}

/**
 * The ms to wait before answering asynchronously; undefined where that was not preferred, and for whoever holds a signed URL
 * of a dataset: it covers no look at the request, so nothing would be left to wait for.
 */
export function readAsyncWait({ request: { headers }, grant }: Pick<Call, 'request' | 'grant'>): number | undefined {
  if (grant.isOfUrl) return undefined;
  const preferences = [headers['prefer'] ?? []].flat().join(',');
  const wait = /(?:^|,)\s*wait\s*=\s*"?(\d{1,6})/i.exec(preferences);
  if (wait !== null) return Math.min(Number(wait[1]), MAX_WAIT_S) * 1000;
  return /(?:^|,)\s*respond-async\b/i.test(preferences) ? 0 : undefined;
}
