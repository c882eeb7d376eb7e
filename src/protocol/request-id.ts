/**
 * Request ids: the id of the router that made it, `-`, and 128 random bits, all in base64url or hex. Unguessable, since
 * without tokens the id is what lets a connector answer.
 */
export const REQUEST_ID_SHAPE = /^[A-Za-z0-9_-]{1,128}$/;

const ID_BYTES = 16;
const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'));

/** Random bytes for the next ids: asking the system for each by itself costs as much as all the rest of a small request. */
const pool = new Uint8Array(256 * ID_BYTES);
let used = pool.length;

/** Makes an id. @param routerId 8 lower-case hex digits that name the router, so that others can find the owner. */
export function createRequestId(routerId: string): string {
  if (used === pool.length) {
    crypto.getRandomValues(pool);
    used = 0;
  }
  let id = `${routerId}-`;
  for (const end = used + ID_BYTES; used < end; used++) id += HEX[pool[used] as number];
  return id;
}

/** The id of the router that made `requestId`, as far as it can be told. */
export function readRouterId(requestId: string): string {
  return requestId.slice(0, Math.max(0, requestId.indexOf('-')));
}

/** Whether `text` could be a request id at all. */
export function isRequestId(text: unknown): text is string {
  return typeof text === 'string' && REQUEST_ID_SHAPE.test(text);
}
