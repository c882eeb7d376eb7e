import { MAX_MIN_AGE_SECONDS } from '../../protocol/limits.ts';
import type { JsonSchema } from './schemas.ts';

interface Described {
  readonly description: string;
  readonly schema: JsonSchema;
}

const TEXT: JsonSchema = { type: 'string' };
const COUNT: JsonSchema = { type: 'integer', minimum: 0 };

/** The parts of paths, by the names that routes give them. */
export const PATH_PARTS: Readonly<Record<string, Described>> = {
  mac: {
    description: 'MAC address of the connector, in any usual spelling.',
    schema: { type: 'string', examples: ['cc-28-aa-01-02-03'] },
  },
  id: { description: 'Id of the request, from `Relay-Request-Id` or `Location`.', schema: TEXT },
  path: {
    description: 'Name of the dataset. Its slashes may stand as they are or percent-encoded.',
    schema: { type: 'string', minLength: 1, examples: ['2026/run 1.csv'] },
  },
};

/** Query parameters. What is not named here is ignored. */
export const QUERY = {
  limit: {
    description: 'Entries in a page; above 1000 it is 1000.',
    schema: { type: 'integer', minimum: 1, maximum: 999_999, default: 100 },
  },
  cursor: { description: '`next` of the page before.', schema: TEXT },
  prefix: { description: 'Only names that begin with this.', schema: TEXT },
  glob: {
    description: 'Only names that match this: `*` stops at a slash, `**` does not.',
    schema: { type: 'string', maxLength: 1024 },
  },
  delimiter: {
    description: 'Names with another slash beyond the prefix are rolled up in `prefixes`.',
    schema: { enum: ['/'] },
  },
  expires: { description: 'Of a signed URL: when it ends, in seconds since 1970.', schema: TEXT },
  signature: { description: 'Of a signed URL: takes the place of a token.', schema: TEXT },
  wait: {
    description:
      'Answer when the request has ended, or after so many seconds; 55 at most. What is no such number is 0.',
    schema: { default: 0 },
  },
  via: { description: 'The pattern.', schema: { enum: ['stream', 'sync', 'offload'], default: 'stream' } },
  download: {
    description: "Have it saved by a browser, under this name, or the dataset's own where it is empty.",
    schema: TEXT,
  },
  on_change: {
    description: '`prefix`: the dataset may grow meanwhile, and what was there at first is sent.',
    schema: { enum: ['fail', 'prefix'], default: 'fail' },
  },
  min_age: {
    description: 'Only what has not changed for so many seconds, by the clock of its node.',
    schema: { type: 'number', minimum: 0, maximum: MAX_MIN_AGE_SECONDS, default: 0 },
  },
  label: {
    description: '`KEY=VALUE`: only those with this label; repeated, with all of them.',
    schema: { type: 'array', items: { type: 'string', pattern: '^[^=]+=' } },
  },
  state: { description: 'Only those in this state.', schema: { enum: ['online', 'offline'] } },
  capabilities: { description: 'As `Relay-Capabilities`, where a client cannot set headers.', schema: TEXT },
} satisfies Record<string, Described>;
export type QueryParameter = keyof typeof QUERY;

/** Headers of requests. OpenAPI leaves out `Accept`, `Content-Type` and `Authorization`, which are said in other ways. */
export const REQUEST_HEADERS = {
  Range: { description: 'One range of bytes; several, and other units, get the whole.', schema: TEXT },
  'If-Match': { description: 'Entity tags, compared strongly, or `*`.', schema: TEXT },
  'If-None-Match': { description: 'Entity tags, or `*`.', schema: TEXT },
  'If-Modified-Since': { description: 'A date of HTTP.', schema: TEXT },
  'If-Unmodified-Since': { description: 'A date of HTTP.', schema: TEXT },
  'If-Range': { description: 'A strong entity tag, or a date of HTTP: else the whole is sent.', schema: TEXT },
  'Accept-Encoding': { description: 'Content codings of the answer: `zstd`, `gzip`.', schema: TEXT },
  'Want-Repr-Digest': { description: '`sha-256=1` asks for the digest of the whole (RFC 9530).', schema: TEXT },
  'Want-Unencoded-Digest': { description: 'The same, for who also takes the answer coded.', schema: TEXT },
  Prefer: {
    description: '`respond-async` or `wait=N` (RFC 7240), `length` for a length in place of a trailer.',
    schema: TEXT,
  },
  'Cache-Control': { description: '`no-cache` has the dataset uploaded anew.', schema: TEXT },
  traceparent: { description: 'The trace that the request is a part of (W3C Trace Context).', schema: TEXT },
  'Relay-Request-Id': {
    description: 'The request that a body of bytes answers; without it the body is JSON.',
    schema: TEXT,
  },
  'Relay-Offset': { description: 'Where in the dataset the body begins, in bytes.', schema: COUNT },
  'Relay-Total-Size': { description: 'Size of the whole dataset in bytes.', schema: COUNT },
  'Relay-Current-Size': { description: 'Size at the last look, where it has grown.', schema: COUNT },
  'Relay-Etag': { description: 'Strong entity tag of the dataset.', schema: TEXT },
  'Last-Modified': { description: "Time of the dataset's last change.", schema: TEXT },
  'Repr-Digest': { description: 'SHA-256 of the whole dataset (RFC 9530).', schema: TEXT },
  'Content-Encoding': { description: 'The coding of a body of bytes: `zstd` or `gzip`.', schema: TEXT },
  'Relay-Capabilities': { description: 'What the connector can do, separated by commas.', schema: TEXT },
  'Relay-Protocol': { description: 'Versions of the protocol that it speaks: `relay.v1`.', schema: TEXT },
  'Relay-Version': { description: "Version of the connector's software.", schema: TEXT },
  'Relay-Name': { description: 'A name for people, percent-encoded.', schema: TEXT },
  'Relay-Labels': { description: '`K=V,K=V`, percent-encoded.', schema: TEXT },
  'Relay-Instance': { description: 'Tells one process from another with the same MAC address.', schema: TEXT },
  'Relay-Link-Id': { description: 'The link that the heartbeat is for.', schema: TEXT },
} satisfies Record<string, Described>;
export type RequestHeader = keyof typeof REQUEST_HEADERS;

/** Headers of answers. */
export const RESPONSE_HEADERS = {
  'Relay-Request-Id': { description: 'Id of the request, which is also in the logs.', schema: TEXT },
  'Relay-Total-Size': { description: 'Size of the whole dataset in bytes, where it is known.', schema: COUNT },
  'Relay-On-Change': { description: '`prefix`, where that was asked for.', schema: TEXT },
  'Relay-Current-Size': { description: 'Size at the last look, where it may have grown.', schema: COUNT },
  'Relay-Min-Age': { description: '`min_age`, where that was asked for.', schema: { type: 'number', minimum: 0 } },
  'Relay-Offload': {
    description:
      'What speaks for the way by the store, of a large dataset that can be had by it (an Item of RFC 9651).',
    schema: TEXT,
  },
  'Relay-Link-Id': { description: 'Id of the link.', schema: TEXT },
  ETag: { description: 'Strong entity tag of the dataset, where it is known.', schema: TEXT },
  'Last-Modified': { description: "Time of the dataset's last change, where it is known.", schema: TEXT },
  'Repr-Digest': { description: 'SHA-256 of the whole, where it is known.', schema: TEXT },
  'Unencoded-Digest': { description: 'SHA-256 of the dataset before coding, where it is known.', schema: TEXT },
  'Content-Encoding': { description: '`zstd` or `gzip`, where the answer is coded.', schema: TEXT },
  'Content-Range': { description: 'Which part it is, and of how many bytes.', schema: TEXT },
  'Content-Disposition': { description: '`attachment`, where a browser has to save it.', schema: TEXT },
  'Accept-Ranges': { description: '`bytes`, or `none` where the connector cannot send parts.', schema: TEXT },
  'Cache-Control': { description: 'How the answer may be kept.', schema: TEXT },
  'Preference-Applied': { description: 'Which preference was followed (RFC 7240).', schema: TEXT },
  Location: { description: 'Where to go on.', schema: TEXT },
  Link: { description: 'The next page, relative to this one, with `rel="next"`.', schema: TEXT },
  'Retry-After': { description: 'Seconds after which asking again makes sense.', schema: COUNT },
  'WWW-Authenticate': { description: 'How to send a token.', schema: TEXT },
  'Relay-Problem': { description: 'The problem document of a failed HEAD, as JSON in ASCII.', schema: TEXT },
} satisfies Record<string, Described>;
export type ResponseHeader = keyof typeof RESPONSE_HEADERS;
