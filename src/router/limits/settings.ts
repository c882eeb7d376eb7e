/** What a router takes on at most, and how long it waits for what others have to send. */
export interface LimitSettings {
  /** Requests of apps that wait or run. */
  readonly maxRequests: number;
  /** The same for one token, or for one address where there is none. */
  readonly maxRequestsPerClient: number;
  /** Commands that wait for one connector or are answered by it. */
  readonly maxRequestsPerConnector: number;
  /** Most bytes of datasets a second for one client, all of its transfers together; by default there is no limit. */
  readonly maxBytesPerSecond?: number | undefined;
  readonly maxConnections: number;
  readonly maxConnectionsPerAddress: number;
  /** The largest head of a request. */
  readonly maxHeaderBytes: number;
  /** Memory for the JSON bodies that are being read. */
  readonly bodyTotalBytes: number;
  readonly handshakeTimeoutMs: number;
  readonly headersTimeoutMs: number;
  /** How long a JSON body may take before its pace counts. */
  readonly bodyTimeoutMs: number;
}
