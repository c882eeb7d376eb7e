import type { IncomingHttpHeaders } from 'node:http';
import { evaluatePreconditions, isAnyTag, readSingleTag, type Validators } from '../../http/conditions.ts';
import { chooseCoding, codedEtag, plainEtags } from '../../http/content-coding.ts';
import { formatLastModified } from '../../http/date.ts';
import { RelayError } from '../../protocol/errors.ts';
import type { Context } from '../context.ts';
import { type DatasetFacts, DATASET_HEADERS, type Wanted } from '../dataset-answer.ts';
import type { Call } from './route.ts';

const CONDITIONS = ['if-match', 'if-unmodified-since', 'if-none-match', 'if-modified-since'] as const;

/** Whether a request has any precondition. */
export const isConditional = (headers: IncomingHttpHeaders): boolean =>
  CONDITIONS.some((name) => headers[name] !== undefined);

/** What a dataset is told apart by. */
export const validatorsOf = ({ etag, lastModified }: DatasetFacts): Validators => ({
  etag,
  lastModified: lastModified === undefined ? undefined : new Date(lastModified),
});

/** The headers that say so. */
export const validatorHeaders = ({ etag, lastModified }: Validators): Record<string, string> => ({
  ...(etag !== undefined && { ETag: etag }),
  ...(lastModified !== undefined && { 'Last-Modified': formatLastModified(lastModified) }),
});

/**
 * How an answer of the resource may be kept: with a strong tag, as long as it is asked about before each use, and where
 * tokens decide who may see it, only by the one who asked. What cannot be asked about is not kept.
 */
export function cacheControl({ options }: Context, etag: string | undefined): string {
  if (etag === undefined) return 'no-store';
  return options.secrets === undefined ? 'no-cache' : 'private, no-cache';
}

/**
 * Answers 304 where a precondition asks for that.
 * @param ranges the `Accept-Ranges` of the resource.
 * @throws {RelayError} precondition_failed.
 */
export function answerCondition(
  context: Context,
  { request, response }: Call,
  validators: Validators,
  ranges: string,
): boolean {
  // What is not modified is so in every coding.
  const known = request.headers['if-none-match'];
  const headers = { ...request.headers, ...(known !== undefined && { 'if-none-match': plainEtags(known) }) };
  const verdict = evaluatePreconditions(headers, validators);
  if (verdict === 'proceed') return false;
  if (verdict === 'precondition_failed') throw notTheOne();
  // The tag is that of the representation that the client has, which may be a coded one.
  const { etag } = validators;
  const coding = chooseCoding(request.headers['accept-encoding']);
  const coded = etag !== undefined && coding !== undefined ? codedEtag(etag, coding) : undefined;
  const tag = coded !== undefined && known?.includes(coded) === true ? { ETag: coded } : {};
  response.writeHead(304, {
    ...DATASET_HEADERS,
    ...validatorHeaders(validators),
    'Cache-Control': cacheControl(context, etag),
    'Accept-Ranges': ranges,
    Vary: 'Accept-Encoding',
    ...tag,
  });
  response.end();
  return true;
}

/**
 * What a request for a dataset by POST is held to: its `If-Match` (RFC 9110 §13.1.1). The other preconditions are about
 * what GET and HEAD bring.
 */
export function holdToIfMatch({ 'if-match': field }: IncomingHttpHeaders): Pick<Wanted, 'ifMatch' | 'admit'> {
  if (field === undefined || isAnyTag(field)) return {};
  return {
    ifMatch: readSingleTag(field),
    admit: (facts) => {
      if (evaluatePreconditions({ 'if-match': field }, validatorsOf(facts)) !== 'proceed') throw notTheOne();
      return true;
    },
  };
}

const notTheOne = (): RelayError =>
  new RelayError('precondition_failed', 'the dataset is not the one that the request is for');
