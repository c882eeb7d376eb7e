/**
 * Why the router ends a link: WebSocket close codes from the private range (RFC 6455 §7.4.2), and the `code` of
 * `event: close` on SSE.
 */
export const CLOSE = {
  /** A newer connection with the same MAC took over: retry at the slowest pace only. */
  replaced: 4000,
  /** The credential is not accepted. */
  notAuthorised: 4001,
  /** The router is going down or wants its connectors elsewhere: come back soon. */
  draining: 4002,
} as const;
