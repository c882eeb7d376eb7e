/**
 * Request ids: the id of the router that made it, `-`, and 128 random bits, all in base64url or hex. Unguessable, since
 * without tokens the id is what lets a connector answer.
 */
const SHAPE = /^[A-Za-z0-9_-]{1,128}$/;

/** Makes an id. @param routerId 8 lower-case hex digits that name the router, so that others can find the owner. */
export function createRequestId(routerId: string): string {
  const random = crypto.getRandomValues(new Uint8Array(16));
  return `${routerId}-${Array.from(random, (byte) => byte.toString(16).padStart(2, '0')).join('')}`;
}

/** The id of the router that made `requestId`, as far as it can be told. */
export function readRouterId(requestId: string): string {
  return requestId.slice(0, Math.max(0, requestId.indexOf('-')));
}

/** Whether `text` could be a request id at all. */
export function isRequestId(text: unknown): text is string {
  return typeof text === 'string' && SHAPE.test(text);
}
