import { type Coding, codedEtag } from '../http/content-coding.ts';
import { formatAttachment } from '../http/content-disposition.ts';
import { formatLastModified } from '../http/date.ts';
import { type ByteRange, formatContentRange } from '../http/range.ts';
import type { DatasetInfo } from '../protocol/answers.ts';
import type { Growth } from '../protocol/app.ts';
import type { DatasetName } from '../protocol/dataset-name.ts';
import { RelayError } from '../protocol/errors.ts';
import type { OnChange } from '../protocol/fields.ts';
import { HEADER } from '../protocol/headers.ts';
import type { Completion, Part, TransferMeta } from './sink.ts';

/** What an answer says of its dataset, as far as it is known; more may become known with the last byte. */
export interface DatasetFacts {
  totalSize?: number;
  etag?: string;
  digest?: string;
  lastModified?: string;
  /** How far it had grown when that was last looked at. */
  currentSize?: number;
}

/** The facts in what a connector knows of a dataset without reading it. */
export const factsOf = ({ size, etag, mtime, digest }: DatasetInfo): DatasetFacts =>
  readFacts({ totalSize: size, etag, lastModified: mtime, digest });

/** What an app wants of a dataset beside its bytes, whichever pattern brings them. */
export interface Wanted {
  /** A part, which is answered with 206; without it the whole with 200. Only for a connector that said `range`. */
  readonly part?: Part | undefined;
  /** The entity tag that the connector is to hold to. */
  readonly ifMatch?: string | undefined;
  /** The tag is not the app's, but what a look at the dataset showed a moment ago. */
  readonly isLooked?: boolean;
  /**
   * Looks at what the connector announces, before any of it goes on. @returns false where it has answered by itself, and
   * nothing of the dataset is wanted any more. @throws {RelayError} where it is not what was asked for.
   */
  readonly admit?: ((facts: DatasetFacts) => boolean) | undefined;
  /** Headers of the answer beside those that the dataset brings. */
  readonly headers?: ((facts: DatasetFacts) => Readonly<Record<string, string>>) | undefined;
}

/** The failure of a request that was held to a look: that condition was the router's, and the app may ask again. */
export const explainFailure = (error: RelayError, { isLooked }: Wanted): RelayError =>
  error.code === 'precondition_failed' && isLooked === true
    ? new RelayError('dataset_changed', 'the dataset changed before it was sent', { cause: error })
    : error;

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

/** What the end of a transfer adds to the facts. */
export function readEnd({ digest, currentSize }: Completion): DatasetFacts {
  return { ...(digest !== undefined && { digest }), ...(currentSize !== undefined && { currentSize }) };
}

/** What a JSON answer says of a dataset that may grow; nothing of any other. */
export function describeGrowth(onChange: OnChange, currentSize: number | undefined): Growth {
  if (onChange === 'fail') return {};
  return { on_change: onChange, ...(currentSize !== undefined && { current_size: currentSize }) };
}

/** The same in headers. */
export function growthHeaders(onChange: OnChange, currentSize: number | undefined): Record<string, string | number> {
  if (onChange === 'fail') return {};
  return { [HEADER.onChange]: onChange, ...(currentSize !== undefined && { [HEADER.currentSize]: currentSize }) };
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
    ...(lastModified !== undefined && { 'Last-Modified': formatLastModified(new Date(lastModified)) }),
    ...(digest !== undefined && { [HEADER.reprDigest]: digest }),
  };
}

/** Status and headers of an answer with these bytes of a dataset, all but its length; without a range the whole. */
export function answerHead(
  { dataset, onChange }: { readonly dataset: DatasetName; readonly onChange: OnChange },
  facts: DatasetFacts,
  {
    contentType,
    range,
    headers,
  }: Pick<Wanted, 'headers'> & { contentType: string | undefined; range: ByteRange | undefined },
): { status: number; headers: Record<string, string | number> } {
  return {
    status: range === undefined ? 200 : 206,
    headers: {
      ...datasetHeaders(dataset, facts, contentType),
      ...growthHeaders(onChange, facts.currentSize),
      Vary: 'Accept-Encoding',
      ...headers?.(facts),
      ...(range !== undefined && { 'Content-Range': formatContentRange(range, facts.totalSize as number) }),
    },
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
