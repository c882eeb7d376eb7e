import type { ByteRange } from '../../http/range.ts';
import { RelayError } from '../../protocol/errors.ts';
import type { Transfer } from '../transfer.ts';
import type { Part } from '../sink.ts';

/** The part that a command asks for: what was wanted, or what is missing of it. */
export function selectPart(
  part: Part | undefined,
  resumption: Transfer['resumption'],
  ifMatch: string | undefined,
): { offset?: number; length?: number; if_match?: string } {
  const { offset = 0, length } = part ?? {};
  const from = resumption?.offset ?? offset;
  const tag = resumption?.etag ?? ifMatch;
  return {
    ...((part !== undefined || from > 0) && { offset: from }),
    ...(length !== undefined && { length: length - (from - offset) }),
    ...(tag !== undefined && { if_match: tag }),
  };
}

/** A part within a dataset of this size. @throws {RelayError} range_not_satisfiable when it begins at its end or beyond. */
export function fitPart(part: Part | undefined, totalSize: number | undefined): ByteRange | undefined {
  if (part === undefined) return undefined;
  if (totalSize === undefined)
    throw new RelayError('connector_failed', 'the connector sends a part and does not say of how much');
  const { offset, length = Infinity } = part;
  if (offset >= totalSize) {
    throw new RelayError('range_not_satisfiable', `the dataset has ${totalSize} bytes`, {
      details: { size: totalSize },
    });
  }
  return { offset, length: Math.min(length, totalSize - offset) };
}
