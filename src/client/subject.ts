import { RelayError } from '../protocol/errors.ts';
import type { OnChange } from '../protocol/fields.ts';
import type { AgeOptions } from './min-age.ts';

/** Which state of a dataset is asked for. */
export interface VersionOptions extends AgeOptions {
  /**
   * What becomes of it when the dataset changes meanwhile. With `prefix` it may grow: what comes are the bytes that were there
   * when it was opened, under an entity tag of their own. One that was cut, replaced or written anew still fails. Default `fail`.
   */
  readonly onChange?: OnChange | undefined;
}

/** What a request is about, as its JSON says it. */
export interface Subject {
  readonly mac: string;
  readonly dataset: string;
  readonly on_change?: OnChange;
  /** In seconds. */
  readonly min_age?: number;
}

/**
 * Makes sure that an answer is what was asked for: a router that does not know `on_change` passes over it.
 * @throws {RelayError} not_supported when it is not.
 */
export function requirePrefix<T extends { readonly on_change?: string | undefined }>(
  answer: T,
  asked: OnChange | undefined,
): T {
  if (asked !== 'prefix' || answer.on_change === 'prefix') return answer;
  throw new RelayError('not_supported', 'this router cannot send what was there of a dataset that grows; upgrade it');
}
