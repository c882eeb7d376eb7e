import { HEADER } from '../protocol/headers.ts';
import type { TransferMeta } from './transfer.ts';

/** What an answer says of its dataset, as far as it is known; more may become known with the last byte. */
export interface DatasetFacts {
  totalSize?: number;
  etag?: string;
  digest?: string;
  lastModified?: string;
}

/** Headers of every answer that carries a dataset: a plant's file is not a page of the router's. */
export const DATASET_HEADERS = {
  'X-Content-Type-Options': 'nosniff',
  'Content-Security-Policy': 'sandbox',
  'Cache-Control': 'no-store',
  'X-Accel-Buffering': 'no',
} as const;

/** The facts in what a connector announced. */
export function readFacts({ totalSize, etag, digest, lastModified }: TransferMeta): DatasetFacts {
  return {
    ...(totalSize !== undefined && { totalSize }),
    ...(etag !== undefined && { etag }),
    ...(digest !== undefined && { digest }),
    ...(lastModified !== undefined && { lastModified }),
  };
}

/** The headers of an answer that carries a dataset as bytes, all but its length. */
export function datasetHeaders(
  facts: DatasetFacts,
  contentType = 'application/octet-stream',
): Record<string, string | number> {
  const { totalSize, etag, digest, lastModified } = facts;
  return {
    ...DATASET_HEADERS,
    'Content-Type': contentType,
    ...(totalSize !== undefined && { [HEADER.totalSize]: totalSize }),
    ...(etag !== undefined && { ETag: etag }),
    ...(lastModified !== undefined && { 'Last-Modified': new Date(lastModified).toUTCString() }),
    ...(digest !== undefined && { [HEADER.reprDigest]: digest }),
  };
}
