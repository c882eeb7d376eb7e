import * as z from 'zod';
import { parseDatasetName, parseDirectoryName } from './dataset-name.ts';
import { RelayError } from './errors.ts';
import { MAX_MIN_AGE_SECONDS } from './limits.ts';
import { MAC_PATTERN, parseMac } from './mac.ts';
import { REQUEST_ID_SHAPE } from './request-id.ts';
import { parseTraceparent } from './trace-context.ts';

/** Turns a parser that returns a value or a RelayError into a schema. */
function parsed<T>(parse: (text: string) => T | RelayError) {
  return z.string().transform((text, context): T => {
    const value = parse(text);
    if (!(value instanceof RelayError)) return value;
    context.addIssue({ code: 'custom', message: value.message });
    return z.NEVER;
  });
}

// What `meta` says is in the description of the HTTP interface (OpenAPI), where code says nothing.
export const mac = parsed(parseMac).meta({
  description: 'A MAC address in any usual spelling.',
  pattern: MAC_PATTERN,
  examples: ['cc-28-aa-01-02-03'],
});
export const datasetName = parsed(parseDatasetName).meta({
  description: "A path relative to the node's data directory, with a slash between its parts.",
  minLength: 1,
  examples: ['2026/run 1.csv'],
});
/** The beginning of names up to a slash, and with it. */
export const directoryName = parsed(parseDirectoryName).meta({
  description: 'The beginning of names up to a slash, and with it.',
  minLength: 2,
  examples: ['2026/'],
});
export const requestId = z.string().regex(REQUEST_ID_SHAPE, 'is not a request id');

/** A count of bytes, or an offset. */
export const byteCount = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER);

/** A strong entity tag with its quotes (RFC 9110 §8.8.3). */
export const etag = z
  .string()
  .max(256)
  .regex(/^"[\x21\x23-\x7e\x80-\xff]*"$/, 'is not a strong entity tag, as in "abc"');

/** A digest field of SHA-256 (RFC 9530 §2): `sha-256=:…:`, 32 bytes of base64. */
export const digest = z.string().regex(/^sha-256=:[A-Za-z0-9+/]{43}=:$/, 'is not a digest, as in sha-256=:…:');

/**
 * A media type with its parameters (RFC 9110 §8.3.1), names as RFC 6838 §4.2 has them. One only: of several with commas
 * between them a browser may take another than the first.
 */
export const contentType = z.string().max(256).regex(mediaType(), 'is not a media type');

function mediaType(): RegExp {
  const name = /[\w!#$&^.+-]+/.source;
  const token = /[\w!#$%&'*+.^`|~-]+/.source;
  const quoted = /"(?:[\t\x20\x21\x23-\x5b\x5d-\x7e]|\\[\t\x20-\x7e])*"/.source;
  return new RegExp(`^${name}/${name}(?:[\\t ]*;(?:[\\t ]*${token}=(?:${token}|${quoted}))?)*$`);
}

/** RFC 3339 date and time. */
export const timestamp = z.iso.datetime({ offset: true });

/** http or https. */
export const httpUrl = z.string().max(8192).refine(isHttpUrl, 'is not an http(s) URL').meta({ format: 'uri' });

/** A `traceparent`; one that is none is left out rather than refused, since nothing depends on it. */
export const traceparent = z
  .string()
  .transform((text) => parseTraceparent(text))
  .optional()
  .catch(undefined);

export const encoding = z.enum(['utf8', 'base64']);

/**
 * What becomes of a request whose dataset changes meanwhile: it fails, or, where the dataset only grows, it goes on with
 * the bytes that were there when it was opened.
 */
export const onChange = z.enum(['fail', 'prefix']);
export type OnChange = z.infer<typeof onChange>;

/** How long a dataset must not have changed to be given, in seconds. */
export const minAge = z
  .number()
  .min(0)
  .max(MAX_MIN_AGE_SECONDS)
  .meta({
    description: 'Only what has not changed for so many seconds, by the clock of its node.',
    examples: [300],
  });

function isHttpUrl(text: string): boolean {
  // A URL parser forgives line breaks and tabs, but a header and a terminal do not.
  return !/\p{Cc}/u.test(text) && URL.canParse(text) && /^https?:$/.test(new URL(text).protocol);
}
