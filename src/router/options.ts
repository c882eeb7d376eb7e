import type { Logger } from '../observability/logger.ts';
import type { StoreLocation } from '../store/open-store.ts';
import type { LimitSettings } from './limits/settings.ts';
import type { Certificate } from './server.ts';

/** How a router runs. Times are in milliseconds, sizes in bytes. */
export interface RouterOptions {
  /** Address to listen on; beyond loopback only with `allowNoAuth`. */
  readonly host: string;
  /** Port to listen on; 0 picks a free one. */
  readonly port: number;
  /** The base of every URL that is handed out; without it, each is made from the address by which its user reached the router. */
  readonly publicUrl?: URL | undefined;
  /** Addresses, and ranges of them, of reverse proxies whose forwarding headers are believed. */
  readonly trustedProxies: readonly string[];
  /** The certificate chain and its key, PEM, as they are now; without them plain HTTP. */
  readonly tls?: (() => Certificate) | undefined;
  /** Directory of what survives a restart. */
  readonly stateDir: string;
  readonly storeLocation: StoreLocation;
  /** The operator named it: apps may be led there when that is quicker. Default false. */
  readonly isStoreChosen?: boolean;
  readonly storeMaxBytes: number;
  readonly storeMinFreeBytes: number;
  /** How long an object lives after its last URL or read. */
  readonly storeKeepMs: number;
  /** How long a signed URL is good for. */
  readonly urlTtlMs: number;
  readonly s3: {
    readonly region?: string | undefined;
    readonly endpoint?: string | undefined;
    readonly nodeEndpoint?: string | undefined;
    readonly appEndpoint?: string | undefined;
    readonly pathStyle?: boolean | undefined;
  };
  /** Origins on which a node's own `download_url` is accepted. */
  readonly offloadOrigins: readonly string[];
  /** Origins whose web pages may ask as apps do; `*` for all, which takes `secrets`. */
  readonly corsOrigins: readonly string[];
  /** The secrets that tokens are verified with, as they are now; undefined where the router asks for no tokens. */
  readonly secrets?: (() => readonly string[]) | undefined;
  /** Lifts the checks that keep a router without tokens on loopback. */
  readonly allowNoAuth: boolean;
  /** Ceiling of pattern A for one dataset, and for all that are held at once. */
  readonly bufferMaxBytes: number;
  readonly bufferTotalBytes: number;
  /** What parts that came ahead of their turn may take, all transfers of pattern B together. */
  readonly windowTotalBytes: number;
  /** How long a small dataset is gathered for an app before what there is of it goes on. Default 50. */
  readonly gatherMs?: number;
  readonly limits: LimitSettings;
  /** How long a connector may take to begin its answer. */
  readonly firstByteTimeoutMs: number;
  /** How long it may be silent after that, while the app reads. */
  readonly silenceTimeoutMs: number;
  /** How long a request waits for a connector that was seen lately. */
  readonly reconnectWaitMs: number;
  /** How long a transfer that broke off waits for its connector to come back and go on. */
  readonly resumeWaitMs: number;
  readonly heartbeatIntervalMs: number;
  /** A link on which nothing was heard for this long is taken for dead. */
  readonly heartbeatTimeoutMs: number;
  /** How long the router still takes requests after it began to go down; a part of `graceMs`. */
  readonly drainDelayMs: number;
  /** How long running transfers may take to finish when the router goes down. */
  readonly graceMs: number;
  /** Version of this software, for `/metrics` and logs. */
  readonly version: string;
  readonly logger: Logger;
}
