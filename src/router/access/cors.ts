import type { IncomingMessage } from 'node:http';
import { HEADER } from '../../protocol/headers.ts';

type Fields = Readonly<Record<string, string>>;

/** What stands for every origin. */
const ANY_ORIGIN = '*';

/** What pages may ask: as apps do, not as nodes. */
const METHODS = 'GET, HEAD, POST, DELETE';

const REQUEST_HEADERS = [
  'Authorization',
  'Range',
  'If-Match',
  'If-None-Match',
  'If-Modified-Since',
  'If-Unmodified-Since',
  'If-Range',
  'Content-Type',
  'Cache-Control',
  'Prefer',
  HEADER.wantReprDigest,
  HEADER.wantUnencodedDigest,
  HEADER.traceparent,
].join(', ');

const RESPONSE_HEADERS = [
  'ETag',
  'Last-Modified',
  'Content-Length',
  'Content-Range',
  'Content-Encoding',
  'Content-Disposition',
  'Accept-Ranges',
  'Allow',
  'Date',
  'Link',
  'Location',
  'Preference-Applied',
  'Retry-After',
  'WWW-Authenticate',
  HEADER.reprDigest,
  HEADER.unencodedDigest,
  HEADER.requestId,
  HEADER.totalSize,
  HEADER.onChange,
  HEADER.minAge,
  HEADER.currentSize,
  HEADER.offload,
  HEADER.problem,
].join(', ');

/** How long a browser may remember what it was allowed, in seconds; none remembers for longer than a day. */
const MAX_AGE_S = 7200;

/** Which web pages of other origins may ask, and read what they get (Fetch §3.2). No cookies are involved, so none are allowed. */
export class Cors {
  readonly #origins: ReadonlySet<string>;

  /** @param origins as browsers name them; `*` for all. None lets no other origin ask. */
  constructor(origins: readonly string[]) {
    this.#origins = new Set(origins);
  }

  /** Whether pages of this origin may ask. */
  allows(origin: string): boolean {
    return this.names(origin) || this.#origins.has(ANY_ORIGIN);
  }

  /** Whether it is allowed by its own name. */
  names(origin: string): boolean {
    return this.#origins.has(origin);
  }

  /** What every answer to this request says of it, errors included; undefined where nothing is allowed to anybody. */
  headersFor({ headers: { origin } }: IncomingMessage): Fields | undefined {
    if (this.#origins.size === 0) return undefined;
    if (this.#origins.has(ANY_ORIGIN)) return readableBy(ANY_ORIGIN);
    return { ...(origin !== undefined && this.names(origin) && readableBy(origin)), Vary: 'Origin' };
  }

  /** The answer to a preflight of a page that may ask, beside what every answer says; undefined where it is no such. */
  preflight({ method, headers }: IncomingMessage): Fields | undefined {
    const { origin } = headers;
    if (method !== 'OPTIONS' || headers['access-control-request-method'] === undefined) return undefined;
    if (origin === undefined || !this.allows(origin)) return undefined;
    return {
      'Access-Control-Allow-Methods': METHODS,
      'Access-Control-Allow-Headers': REQUEST_HEADERS,
      'Access-Control-Max-Age': String(MAX_AGE_S),
    };
  }
}

const readableBy = (origin: string): Fields => ({
  'Access-Control-Allow-Origin': origin,
  'Access-Control-Expose-Headers': RESPONSE_HEADERS,
  'Cross-Origin-Resource-Policy': 'cross-origin',
});
