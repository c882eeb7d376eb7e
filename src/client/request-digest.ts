import { type DigestAnswer, digestAnswer } from '../protocol/app.ts';
import { RelayError } from '../protocol/errors.ts';
import { type PollOptions, runAsync } from './long-poll.ts';
import { requirePrefix, type Subject } from './subject.ts';
import type { Transport } from './transport.ts';

/**
 * Size, ETag and SHA-256 of a dataset, for which the node reads all of it.
 * @throws {RelayError} not_supported when it cannot; dataset_changed when it must have a tag and has another by now.
 */
export async function requestDigest(
  transport: Transport,
  target: Subject,
  options: PollOptions & { readonly ifMatch?: string | undefined },
): Promise<DigestAnswer> {
  const outcome = await runAsync(transport, 'datasets/request-digest', target, options);
  if ('response' in outcome) {
    return requirePrefix(await transport.readJson(outcome.response, digestAnswer, options.signal), target.on_change);
  }
  const end = requirePrefix(outcome.status, target.on_change);
  if (end.digest === null || end.total_size === null) {
    throw new RelayError('not_supported', 'the connector gave no digest', { details: { request_id: end.request_id } });
  }
  return {
    size: end.total_size,
    ...(end.etag !== null && { etag: end.etag }),
    digest: end.digest,
    ...(end.on_change !== undefined && { on_change: end.on_change }),
    ...(end.current_size !== undefined && { current_size: end.current_size }),
  };
}
