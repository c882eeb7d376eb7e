import { RelayError } from '../protocol/errors.ts';
import { HEADER } from '../protocol/headers.ts';

/** How long a dataset has been left alone that is asked for. */
export interface AgeOptions {
  /**
   * Only of what has not changed for so long by the clock of its node, in milliseconds: a younger dataset may be half-written.
   * One is `dataset_too_recent`, with `retry_after`; listings leave it out. What the node wants by itself counts where it
   * is longer. Default 0: of any age.
   */
  readonly minAgeMs?: number | undefined;
}

/** The condition as requests have it, in JSON and in queries; nothing where any age will do. */
export const toMinAge = ({ minAgeMs = 0 }: AgeOptions): { min_age?: number } =>
  minAgeMs > 0 ? { min_age: minAgeMs / 1000 } : {};

/**
 * Makes sure that a good answer was given under the condition: a router that does not know it passes over it.
 * @throws {RelayError} not_supported when it was not; the body is cancelled.
 */
export async function requireMinAge(response: Response, asked: { readonly min_age?: number }): Promise<Response> {
  if (asked.min_age === undefined || !response.ok || response.headers.has(HEADER.minAge)) return response;
  await response.body?.cancel();
  throw new RelayError('not_supported', 'this router does not look at how long ago a dataset changed; upgrade it');
}
