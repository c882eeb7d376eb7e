import type { ChooseProxy } from '../http/proxy/choose-proxy.ts';
import type { Logger } from '../observability/logger.ts';
import type { Mac } from '../protocol/mac.ts';

/** How the connector reaches the router: `auto` prefers WebSocket and falls back to SSE. */
export type Transport = 'auto' | 'websocket' | 'sse';

/** How a connector runs. Times are in milliseconds. */
export interface ConnectorOptions {
  /** The router's base URL, http or https, with or without a path prefix. */
  readonly routerUrl: URL;
  readonly mac: Mac;
  /** The one directory whose files are offered. */
  readonly dataDir: string;
  /** A name for people. */
  readonly name?: string | undefined;
  readonly labels?: Readonly<Record<string, string>> | undefined;
  /** Default `auto`. */
  readonly transport?: Transport | undefined;
  /** Whether datasets may be put into a store (pattern C). Default true. */
  readonly offload?: boolean | undefined;
  /** Also offers names of which a part begins with a dot. Default false. */
  readonly hidden?: boolean | undefined;
  /**
   * For how long a dataset must not have changed to be offered, by this machine's clock: a younger one may be half-written.
   * What an app asks for counts where it is longer. Default 0: any.
   */
  readonly minAgeMs?: number | undefined;
  /** Transfers at once, and as many looks at the catalog. Default 250. */
  readonly maxConcurrentRequests?: number | undefined;
  /** Requests that may wait for their turn, in each of the two; those beyond are refused as `overloaded`. Default 1000. */
  readonly maxQueuedRequests?: number | undefined;
  /** Connections for one dataset at most, where the router is far away; 1 for never more than one. Default 16. */
  readonly maxParallel?: number | undefined;
  /** Most bytes a second that are sent of datasets, all requests together. Default: no limit. */
  readonly maxBytesPerSecond?: number | undefined;
  /** Default 20 000. */
  readonly heartbeatIntervalMs?: number | undefined;
  /** A link on which nothing was heard for this long is taken for dead. Default 45 000. */
  readonly heartbeatTimeoutMs?: number | undefined;
  /** How long a link may take until the router's first sign of life. Default 10 000. */
  readonly connectTimeoutMs?: number | undefined;
  /** Ceiling of the first pause between attempts; it doubles with each. Default 500. */
  readonly reconnectMinMs?: number | undefined;
  /** Ceiling of every pause between attempts. Default 30 000. */
  readonly reconnectMaxMs?: number | undefined;
  /** After a fall back to SSE, when to try WebSocket again. Default 600 000. */
  readonly websocketRetryMs?: number | undefined;
  /** How long the router may take to say that a long body arrives, before it goes in smaller ones. Default 5000. */
  readonly receivingTimeoutMs?: number | undefined;
  /** How long without any link before `run` rejects with `router_unreachable`. By default never. */
  readonly giveUpAfterMs?: number | undefined;
  /** How long a drain waits for requests that are running. Default 25 000. */
  readonly graceMs?: number | undefined;
  /** The token that the router asks for, as it is now; asked for each request, so that it may change. */
  readonly token?: (() => string) | undefined;
  /** Lets the token travel over plain HTTP to other machines. Default false. */
  readonly allowHttp?: boolean | undefined;
  /** Certificates of authorities trusted besides the usual ones and the system's, PEM, as they are now. */
  readonly ca?: (() => string) | undefined;
  /** The proxy by which the router or a store is reached. By default none. */
  readonly chooseProxy?: ChooseProxy | undefined;
  /** Whose rules for file names hold. Default that of this machine. */
  readonly platform?: NodeJS.Platform | undefined;
  /** Version of this software, as listings show it. */
  readonly version: string;
  readonly logger: Logger;
}

/** What has no default. */
type Unset = 'name' | 'ca' | 'chooseProxy' | 'giveUpAfterMs' | 'token';

/** The options with every default filled in. */
export type Settings = {
  readonly [K in Exclude<keyof ConnectorOptions, Unset>]-?: NonNullable<ConnectorOptions[K]>;
} & Pick<ConnectorOptions, Unset>;

const DEFAULTS = {
  labels: {},
  transport: 'auto',
  offload: true,
  hidden: false,
  minAgeMs: 0,
  allowHttp: false,
  maxConcurrentRequests: 250,
  maxQueuedRequests: 1000,
  maxParallel: 16,
  heartbeatIntervalMs: 20_000,
  heartbeatTimeoutMs: 45_000,
  connectTimeoutMs: 10_000,
  reconnectMinMs: 500,
  reconnectMaxMs: 30_000,
  websocketRetryMs: 600_000,
  receivingTimeoutMs: 5000,
  graceMs: 25_000,
  platform: process.platform,
} as const;

/** Fills in the defaults; an option that is present but undefined counts as absent. */
export function applyDefaults(options: ConnectorOptions): Settings {
  const given = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
  return { ...DEFAULTS, ...given } as Settings;
}
