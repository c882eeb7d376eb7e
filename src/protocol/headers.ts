/** Header names of relay's own, as they are written; HTTP compares them without case. */
export const HEADER = {
  /** The id of the request, on every answer to an app and on every binary POST of a connector. */
  requestId: 'Relay-Request-Id',
  /** What a connector can do beyond the plain protocol, when it opens its link. */
  capabilities: 'Relay-Capabilities',
  /** Offset in the whole dataset of the first byte of a binary chunk. */
  offset: 'Relay-Offset',
  /** Size of the whole dataset, in bytes before any coding. */
  totalSize: 'Relay-Total-Size',
  /** Length of the body of a coded PUT before its coding, in bytes. */
  plainLength: 'Relay-Plain-Length',
  /** Size of the dataset when it was last looked at, which is more than the total where it has grown; for `on_change`. */
  currentSize: 'Relay-Current-Size',
  /** Says `prefix` on an answer whose dataset may grow meanwhile. */
  onChange: 'Relay-On-Change',
  /** Says on an answer that only what had not changed for so many seconds was given; for `min_age`. */
  minAge: 'Relay-Min-Age',
  /** Whether a large dataset can be had by the store as well, and what speaks for that. */
  offload: 'Relay-Offload',
  /** Strong entity tag of the dataset, with its quotes. */
  etag: 'Relay-Etag',
  /** Versions of the protocol that the connector speaks, `relay.v1, …`, when it opens its link. */
  protocol: 'Relay-Protocol',
  /** Version of the connector's software, when it opens its link. */
  version: 'Relay-Version',
  /** A name for people, percent-encoded UTF-8. */
  name: 'Relay-Name',
  /** Labels as `K=V,K=V`, keys and values percent-encoded UTF-8. */
  labels: 'Relay-Labels',
  /** Tells one process from another that claims the same MAC. */
  instance: 'Relay-Instance',
  /** Names one link, on its response and on the heartbeats that belong to it. */
  linkId: 'Relay-Link-Id',
  /** The problem document of a failed HEAD, which has no body to say it in: JSON in ASCII. */
  problem: 'Relay-Problem',
  /** The trace that a request is a part of (W3C Trace Context). */
  traceparent: 'traceparent',
  wantReprDigest: 'Want-Repr-Digest',
  reprDigest: 'Repr-Digest',
  /** The digest of content before any coding, and the wish for it (draft-ietf-httpbis-unencoded-digest). */
  wantUnencodedDigest: 'Want-Unencoded-Digest',
  unencodedDigest: 'Unencoded-Digest',
} as const;
