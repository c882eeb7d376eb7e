import type { OpenDataset } from '../datasets/open.ts';
import { HEADER } from '../../protocol/headers.ts';

/**
 * The headers of a binary POST.
 * @param offset of its first byte: with it the request survives a body that breaks off.
 * @param digest of the whole dataset.
 */
export function dataHeaders(
  { facts, currentSize }: OpenDataset,
  offset: number,
  digest?: string,
): Record<string, string> {
  const { size, etag, modifiedAt, contentType } = facts;
  return {
    'Content-Type': contentType,
    [HEADER.totalSize]: String(size),
    [HEADER.etag]: etag,
    [HEADER.offset]: String(offset),
    ...(currentSize !== undefined && { [HEADER.currentSize]: String(currentSize) }),
    ...(modifiedAt !== undefined && { 'Last-Modified': modifiedAt.toUTCString() }),
    ...(digest !== undefined && { [HEADER.reprDigest]: digest }),
  };
}
