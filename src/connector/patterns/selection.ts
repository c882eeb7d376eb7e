import { RelayError } from '../../protocol/errors.ts';
import type { DatasetFacts } from '../datasets/facts.ts';

/** The part of a dataset that is sent: first byte, and the first after it. */
export interface Selection {
  readonly start: number;
  readonly end: number;
  readonly isWhole: boolean;
}

/**
 * The part that a command asks for, cut at the end of the dataset. One that begins exactly at the end is empty: what is
 * left of a stream of which all has arrived.
 * @throws {RelayError} range_not_satisfiable when it begins beyond the end.
 */
export function select(
  facts: DatasetFacts,
  { offset = 0, length }: { offset?: number | undefined; length?: number | undefined },
): Selection {
  const { name, size } = facts;
  if (offset > size) {
    throw new RelayError('range_not_satisfiable', `the dataset ${JSON.stringify(name)} has ${size} bytes`, {
      details: { size },
    });
  }
  const end = Math.min(size, offset + (length ?? size));
  return { start: offset, end, isWhole: offset === 0 && end === size };
}
