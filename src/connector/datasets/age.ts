import { RelayError } from '../../protocol/errors.ts';
import type { DatasetFacts } from './facts.ts';

type Aged = Pick<DatasetFacts, 'name' | 'mtimeMs' | 'modifiedAt'>;

/**
 * Whether a dataset changed too lately to be given. One whose time of change lies ahead of the clock counts as changed just
 * now: it may still be written to.
 * @param minAgeMs 0 for one of any age.
 * @param now on the node's own clock, in milliseconds.
 */
export const isTooRecent = ({ mtimeMs }: Pick<Aged, 'mtimeMs'>, minAgeMs: number, now: number): boolean =>
  minAgeMs > 0 && now - mtimeMs < minAgeMs;

/** @throws {RelayError} dataset_too_recent, with the seconds until it is old enough if nobody writes to it meanwhile. */
export function requireAge(facts: Aged, minAgeMs: number, now = Date.now()): void {
  if (!isTooRecent(facts, minAgeMs, now)) return;
  const { name, mtimeMs, modifiedAt } = facts;
  const ageMs = now - mtimeMs;
  const when =
    ageMs < 0
      ? `${inSeconds(-ageMs)} ahead of this node's clock, which says ${new Date(now).toISOString()}`
      : `${inSeconds(ageMs)} ago`;
  throw new RelayError(
    'dataset_too_recent',
    `the dataset ${JSON.stringify(name)} was last changed at ${modifiedAt?.toISOString() ?? 'a time of no calendar'}, ${when}; it is given once it has not changed for ${inSeconds(minAgeMs)}`,
    { details: { retry_after: Math.max(1, Math.ceil((minAgeMs - ageMs) / 1000)) } },
  );
}

const inSeconds = (ms: number): string => `${ms / 1000} s`;
