import { RelayError } from '../../protocol/errors.ts';
import type { DatasetName } from '../../protocol/dataset-name.ts';
import type { DataDir } from '../datasets/data-dir.ts';
import type { DatasetFacts } from '../datasets/facts.ts';
import { requireAge } from '../datasets/age.ts';
import { type OpenDataset, openDataset } from '../datasets/open.ts';

/** The part of a dataset that is sent: first byte, and the first after it. */
export interface Selection {
  readonly start: number;
  readonly end: number;
  readonly isWhole: boolean;
}

/** The dataset as a command wants it. */
interface Wanted {
  readonly dataset_name: DatasetName;
  readonly if_match?: string | undefined;
  readonly on_change?: 'prefix' | undefined;
  readonly min_age?: number | undefined;
}

/** For how long a dataset must not have changed, in ms: what is asked for, or what the node wants where that is longer. */
export const minAgeOf = (
  { minAgeMs }: Pick<DataDir, 'minAgeMs'>,
  { min_age: seconds = 0 }: Pick<Wanted, 'min_age'>,
): number => Math.max(minAgeMs, seconds * 1000);

/**
 * Opens the dataset that a command is about, held to what it asks for.
 * @throws {RelayError} dataset_too_recent when it changed since it had to be left alone; precondition_failed when it is not the
 * one that the command names; what {@link openDataset} throws.
 */
export async function openWanted(dataDir: DataDir, wanted: Wanted): Promise<OpenDataset> {
  const { dataset_name: name, if_match: etag, on_change: onChange } = wanted;
  const dataset = await openDataset(dataDir, name);
  try {
    // The open file is looked at, so that none can be put in its place afterwards.
    requireAge(dataset.facts, minAgeOf(dataDir, wanted));
    if (onChange === 'prefix') await dataset.holdToPrefix(etag);
    dataset.match(etag);
    return dataset;
  } catch (error) {
    await dataset[Symbol.asyncDispose]();
    throw error;
  }
}

/** The member of an answer that says how far a dataset that may grow has grown; none for any other. */
export const describeGrowth = ({ currentSize }: OpenDataset): { current_size?: number } =>
  currentSize === undefined ? {} : { current_size: currentSize };

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
