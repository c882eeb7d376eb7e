import { type Coding, codedEtag } from '../http/content-coding.ts';
import { formatAttachment } from '../http/content-disposition.ts';
import type { DatasetName } from '../protocol/dataset-name.ts';
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
  'Cross-Origin-Resource-Policy': 'same-origin',
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

/**
 * Types that a browser would run or draw as a page of the router's, whatever the dataset's writer put into it; several
 * parts have types of their own. With a comma it may be any type, since browsers take it apart there.
 */
const ACTIVE_TYPE =
  /,|^\s*(?:text\/html|multipart\/[^;]*|(?:text|application)\/(?:xml|xsl)|[\w.!#$&^-]+\/[\w.!#$&^+-]+\+xml)\s*(?:;|$)/i;

/** The type of a dataset, and whether a browser must save it in place of showing it (RFC 6266). */
export function contentHeaders(
  dataset: DatasetName,
  contentType = 'application/octet-stream',
): { 'Content-Type': string; 'Content-Disposition'?: string } {
  return {
    'Content-Type': contentType,
    ...(ACTIVE_TYPE.test(contentType) && { 'Content-Disposition': formatAttachment(dataset) }),
  };
}

/** The headers of an answer that carries a dataset as bytes, all but its length. */
export function datasetHeaders(
  dataset: DatasetName,
  facts: DatasetFacts,
  contentType?: string,
): Record<string, string | number> {
  const { totalSize, etag, digest, lastModified } = facts;
  return {
    ...DATASET_HEADERS,
    ...contentHeaders(dataset, contentType),
    ...(totalSize !== undefined && { [HEADER.totalSize]: totalSize }),
    ...(etag !== undefined && { ETag: etag }),
    ...(lastModified !== undefined && { 'Last-Modified': new Date(lastModified).toUTCString() }),
    ...(digest !== undefined && { [HEADER.reprDigest]: digest }),
  };
}

type AnswerHeaders = Record<string, string | number>;

/**
 * The headers of an answer that goes coded: another representation, with a tag of its own, of which nobody knows the length
 * beforehand, and no parts. The digest is that of the dataset.
 */
export function codedHeaders(
  { [HEADER.reprDigest]: digest, Trailer: trailer, ETag: etag, ...plain }: AnswerHeaders,
  coding: Coding,
): AnswerHeaders {
  const { 'Content-Length': _length, ...headers } = plain;
  return {
    ...headers,
    'Content-Encoding': coding,
    'Accept-Ranges': 'none',
    ...(digest !== undefined && { [HEADER.unencodedDigest]: digest }),
    ...(trailer !== undefined && { Trailer: HEADER.unencodedDigest }),
    ...(etag !== undefined && { ETag: codedEtag(String(etag), coding) }),
  };
}
