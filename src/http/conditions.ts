import type { IncomingHttpHeaders } from 'node:http';

/** What a representation is told apart by (RFC 9110 §8.8). */
export interface Validators {
  /** Strong entity tag with its quotes; undefined where there is none. */
  readonly etag?: string | undefined;
  readonly lastModified?: Date | undefined;
}

/** What the preconditions of a request come to. */
export type Verdict = 'proceed' | 'not_modified' | 'precondition_failed';

/**
 * Evaluates the preconditions of a GET or HEAD in their order of precedence (RFC 9110 §13.2.2). Malformed ones count as
 * absent, but for an `If-Match`, which then matches nothing: it guards against mixing two versions.
 */
export function evaluatePreconditions(headers: IncomingHttpHeaders, { etag, lastModified }: Validators): Verdict {
  const ifMatch = headers['if-match'];
  const since = readDate(headers['if-unmodified-since']);
  if (ifMatch !== undefined) {
    if (!listsTag(ifMatch, etag, 'strong')) return 'precondition_failed';
  } else if (since !== undefined && lastModified !== undefined && toSeconds(lastModified) > toSeconds(since)) {
    return 'precondition_failed';
  }
  const ifNoneMatch = headers['if-none-match'];
  const modifiedSince = readDate(headers['if-modified-since']);
  if (ifNoneMatch !== undefined) {
    if (listsTag(ifNoneMatch, etag, 'weak')) return 'not_modified';
  } else if (
    modifiedSince !== undefined &&
    lastModified !== undefined &&
    toSeconds(lastModified) <= toSeconds(modifiedSince)
  ) {
    return 'not_modified';
  }
  return 'proceed';
}

/**
 * Whether an `If-Range` lets the range count (RFC 9110 §13.1.5): an absent one does; a tag must be the same by strong
 * comparison, a date exactly the one of the last change.
 */
export function allowsRange(ifRange: string | undefined, { etag, lastModified }: Validators): boolean {
  if (ifRange === undefined) return true;
  const field = ifRange.trim();
  if (field.startsWith('"') || field.startsWith('W/')) return field === etag;
  const date = readDate(field);
  return date !== undefined && lastModified !== undefined && toSeconds(lastModified) === toSeconds(date);
}

/** The one strong tag of an `If-Match`, which whoever has the representation can compare; undefined for anything else. */
export function readSingleTag(field: string | undefined): string | undefined {
  return /^[\t ]*("[\x21\x23-\x7e\x80-\xff]*")[\t ]*$/.exec(field ?? '')?.[1];
}

/** Whether a list of tags, or `*`, has this one. A weak tag of the list matches by weak comparison only (RFC 9110 §8.8.3.2). */
function listsTag(field: string, etag: string | undefined, comparison: 'strong' | 'weak'): boolean {
  if (field.trim() === '*') return true;
  if (etag === undefined) return false;
  for (const [, weak, tag] of field.matchAll(/(W\/)?("[\x21\x23-\x7e\x80-\xff]*")/g)) {
    if (tag === etag && (weak === undefined || comparison === 'weak')) return true;
  }
  return false;
}

function readDate(field: string | undefined): Date | undefined {
  if (field === undefined) return undefined;
  const date = new Date(field);
  // HTTP dates only (RFC 9110 §5.6.7): what else Date understands was meant as something else.
  return Number.isNaN(date.getTime()) || !/\bGMT$|\d{4}$/.test(field.trim()) ? undefined : date;
}

/** HTTP dates have no fractions. */
const toSeconds = (date: Date): number => Math.floor(date.getTime() / 1000);
