import type { DatasetInfo } from '../protocol/answers.ts';
import type { RelayError } from '../protocol/errors.ts';
import type { Pattern, PatternChoice } from '../protocol/choose-pattern.ts';
import type { VersionOptions } from './subject.ts';
import type { Fetch } from './transport.ts';

/** What became of one dataset, or of the listing of a connector that could not be had. */
export interface DownloadResult {
  readonly mac: string;
  /** Undefined where it is the connector that failed, before anything was known of its datasets. */
  readonly dataset: string | undefined;
  /**
   * `present` was there already; `planned` would be fetched without `dryRun`; `skipped` changed after it was listed, and is too
   * recent now: `minAgeMs`, or what its node wants.
   */
  readonly outcome: 'fetched' | 'present' | 'planned' | 'skipped' | 'failed';
  /** In bytes, as far as it is known. */
  readonly size?: number | undefined;
  readonly etag?: string | undefined;
  /** `sha-256=:…:` of what is in the file, where it was looked at. */
  readonly digest?: string | undefined;
  /** Whether a digest of the node's agreed. */
  readonly verified?: boolean | undefined;
  /** By which pattern it came, or was last tried. */
  readonly pattern?: Pattern | undefined;
  /** How often it was asked for. */
  readonly attempts: number;
  readonly error?: RelayError | undefined;
  /** The request at the router. */
  readonly requestId?: string | undefined;
  /** How long it took, in milliseconds. */
  readonly ms: number;
}

/** How many there were of each outcome. */
export interface DownloadSummary {
  readonly fetched: number;
  readonly present: number;
  readonly planned: number;
  readonly skipped: number;
  readonly failed: number;
  /** Of what was fetched, or would be. */
  readonly bytes: number;
}

/** A dataset of a connector. */
export interface DownloadSubject {
  readonly mac: string;
  readonly dataset: DatasetInfo;
}

/** What is told while datasets are downloaded. */
export interface DownloadEvents {
  /** A dataset is in the listing and matches. */
  readonly onListed?: ((subject: DownloadSubject) => void) | undefined;
  /** Its transfer is about to begin. */
  readonly onStart?: ((subject: DownloadSubject) => void) | undefined;
  /** Which pattern it is asked for by, and why. */
  readonly onChoice?: ((subject: DownloadSubject, choice: PatternChoice) => void) | undefined;
  /** So many of its bytes are there. */
  readonly onBytes?: ((subject: DownloadSubject, received: number) => void) | undefined;
  /** It failed, and is asked for again after a pause. */
  readonly onRetry?:
    | ((mac: string, dataset: string | undefined, error: RelayError, delayMs: number) => void)
    | undefined;
  /** Nothing more will happen to it. */
  readonly onResult?: ((result: DownloadResult) => void) | undefined;
  /** Something that is odd and no failure, in words for people. */
  readonly onWarning?: ((text: string) => void) | undefined;
}

/** How many datasets are downloaded. */
export interface DownloadOptions extends DownloadEvents, VersionOptions {
  readonly signal?: AbortSignal | undefined;
  /** Only names that match; `*` stops at `/`, `**` does not. Default all. */
  readonly glob?: string | undefined;
  /** How many transfers at a time. Default 4. */
  readonly parallel?: number | undefined;
  /** Over how many connections one dataset may come, as `parallel` of `requestStream` has it. Default 16. */
  readonly maxParallel?: number | undefined;
  /** Compare what is there by SHA-256, for which the node reads it, in place of ETag and time of change. Default false. */
  readonly checksum?: boolean | undefined;
  /** Fetch nothing, and tell what would be fetched. Default false. */
  readonly dryRun?: boolean | undefined;
  /** Go on with what an earlier run has left of a file. Default true. */
  readonly resume?: boolean | undefined;
  /** Fail where the node gives no digest. Default false. */
  readonly requireDigest?: boolean | undefined;
  /** How often each is asked for again, and how long an absent connector is waited for, as `withRetries` has them. Default 3 and 0. */
  readonly retries?: number | undefined;
  readonly waitMs?: number | undefined;
  /** What a store is reached by. Default: the platform's own. */
  readonly fetch?: Fetch | undefined;
  /** How long a store may say nothing, in milliseconds. */
  readonly stallTimeoutMs?: number | undefined;
  /** Whose rules for file names hold. Default that of this machine. */
  readonly platform?: NodeJS.Platform | undefined;
}
