/**
 * relay as a library: the app's side. Errors are RelayError, told apart by their `code`.
 * @module
 */
export type { CallOptions } from './client/call-options.ts';
export { type ByWaysOptions, openByWays, type OpenedContent, tryWays } from './client/by-ways.ts';
export { Ways, type WaysFacts } from './client/ways.ts';
export {
  type ConnectorsOptions,
  type DatasetOptions,
  type DigestOptions,
  type OffloadOptions,
  RelayClient,
  type RelayClientOptions,
  type SignOptions,
  type StatOptions,
  type StreamOptions,
} from './client/client.ts';
export type { Content, Known, PartsContent, WriteAt } from './client/content.ts';
export type { DatasetResponse } from './client/dataset-response.ts';
export type { DatasetStat } from './client/dataset-stat.ts';
export type { DatasetPrefix, DatasetsOptions, DirectoryOptions } from './client/list.ts';
export type { PollOptions } from './client/long-poll.ts';
export type { OpenedDataset, OpenOptions } from './client/open.ts';
export { type DownloadOptions, downloadOffloaded, type StoreContent } from './client/store-content.ts';
export { type RetryOptions, withRetries } from './client/retry.ts';
export type { Span } from './client/spans.ts';
export type { AgeOptions } from './client/min-age.ts';
export type { VersionOptions } from './client/subject.ts';
export type { StoreReaderOptions } from './client/store-reader.ts';
export type { Fetch } from './client/transport.ts';
export { choosePattern, type Pattern, type PatternChoice, type PatternFacts } from './protocol/choose-pattern.ts';
export type { OffloadFacts } from './protocol/offload-facts.ts';
export type { DatasetInfo } from './protocol/answers.ts';
export type {
  ConnectorInfo,
  DigestAnswer,
  OffloadAnswer,
  RequestState,
  RequestStatus,
  SignedUrl,
  SyncAnswer,
} from './protocol/app.ts';
export type { OnChange } from './protocol/fields.ts';
export { type ErrorCode, type ErrorDetails, isErrorCode, RelayError } from './protocol/errors.ts';
