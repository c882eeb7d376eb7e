import { type DigestAnswer, digestAnswer } from '../protocol/app.ts';
import { RelayError } from '../protocol/errors.ts';
import { type PollOptions, runAsync } from './long-poll.ts';
import type { Transport } from './transport.ts';

/** Size, ETag and SHA-256 of a dataset, for which the node reads all of it. @throws {RelayError} not_supported when it cannot. */
export async function requestDigest(
  transport: Transport,
  target: { readonly mac: string; readonly dataset: string },
  options: PollOptions,
): Promise<DigestAnswer> {
  const outcome = await runAsync(transport, 'datasets/request-digest', target, options);
  if ('response' in outcome) return transport.readJson(outcome.response, digestAnswer, options.signal);
  const end = outcome.status;
  if (end.digest === null || end.total_size === null) {
    throw new RelayError('not_supported', 'the connector gave no digest', { details: { request_id: end.request_id } });
  }
  return { size: end.total_size, ...(end.etag !== null && { etag: end.etag }), digest: end.digest };
}
