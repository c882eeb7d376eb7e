import type { DatasetFacts } from '../datasets/facts.ts';
import { HEADER } from '../../protocol/headers.ts';

/** What the headers of a binary POST say of the dataset it carries. */
export function describeDataset({ size, etag, modifiedAt }: DatasetFacts): Record<string, string> {
  return {
    [HEADER.totalSize]: String(size),
    [HEADER.etag]: etag,
    ...(modifiedAt !== undefined && { 'Last-Modified': modifiedAt.toUTCString() }),
  };
}
