import type { IncomingHttpHeaders } from 'node:http';
import { parseHttpDate } from './date.ts';

/** What a representation is told apart by (RFC 9110 §8.8). */
export interface Validators {
  /** Strong entity tag with its quotes; undefined where there is none. */
  readonly etag?: string | undefined;
  readonly lastModified?: Date | undefined;
  /** It is never written again, so that its date is as good as a tag. */
  readonly isImmutable?: boolean;
}

/** What the preconditions of a request come to. */
export type Verdict = 'proceed' | 'not_modified' | 'precondition_failed';

/**
 * A date tells versions apart only where no other change can have come within its second (RFC 9110 §8.8.2.2). The clocks of
 * who wrote the date and who reads it may differ by some seconds.
 */
const STRONG_AFTER_S = 60;

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
 * comparison, a date exactly that of the last change, and far enough back to be a strong validator.
 */
export function allowsRange(
  ifRange: string | readonly string[] | undefined,
  validators: Validators,
  now: Date = new Date(),
): boolean {
  if (ifRange === undefined) return true;
  const { etag, lastModified, isImmutable = false } = validators;
  const field = String(ifRange).trim();
  if (field.startsWith('"') || field.startsWith('W/')) return field === etag;
  const date = readDate(field);
  if (date === undefined || lastModified === undefined || toSeconds(lastModified) !== toSeconds(date)) return false;
  return isImmutable || toSeconds(now) - toSeconds(lastModified) >= STRONG_AFTER_S;
}

/** The one strong tag of an `If-Match`, which whoever has the representation can compare; undefined for anything else. */
export function readSingleTag(field: string | undefined): string | undefined {
  const tags = field === undefined ? undefined : parseTags(field);
  return tags?.length === 1 && tags[0]?.isWeak === false ? tags[0].tag : undefined;
}

/** Whether an `If-Match` or `If-None-Match` is for whatever there is. */
export const isAnyTag = (field: string | undefined): boolean => field?.trim() === '*';

interface EntityTag {
  readonly tag: string;
  readonly isWeak: boolean;
}

const TOKENS = /(W\/)?("[\x21\x23-\x7e\x80-\xff]*")|,|[\t ]+|./gs;

/** Reads a list of entity tags (RFC 9110 §5.6.1, §8.8.3), which may have empty members; undefined where it is malformed. */
function parseTags(field: string): EntityTag[] | undefined {
  const tags: EntityTag[] = [];
  let isSeparated = true;
  for (const [token, weak, tag] of field.matchAll(TOKENS)) {
    if (token === ',') isSeparated = true;
    else if (tag !== undefined && isSeparated) {
      tags.push({ tag, isWeak: weak !== undefined });
      isSeparated = false;
    } else if (token.trim() !== '') return undefined;
  }
  return tags;
}

/** Whether a list of tags, or `*`, has this one. A weak tag of the list matches by weak comparison only (RFC 9110 §8.8.3.2). */
function listsTag(field: string, etag: string | undefined, comparison: 'strong' | 'weak'): boolean {
  if (isAnyTag(field)) return true;
  return parseTags(field)?.some(({ tag, isWeak }) => tag === etag && (!isWeak || comparison === 'weak')) ?? false;
}

const readDate = (field: string | undefined): Date | undefined =>
  field === undefined ? undefined : parseHttpDate(field);

/** HTTP dates have no fractions. */
const toSeconds = (date: Date): number => Math.floor(date.getTime() / 1000);
