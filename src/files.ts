/**
 * What a program on Node.js needs to keep a dataset that `RelayClient` or `downloadOffloaded` gives it: whole and checked in
 * a file, or on a stream.
 * @module
 */
export { download, type DownloadToOptions } from './client/download.ts';
export { isGlob } from './client/download-batch.ts';
export { downloadAll, downloadFleet } from './client/download-all.ts';
export type {
  DownloadEvents,
  DownloadOptions,
  DownloadResult,
  DownloadSubject,
  DownloadSummary,
} from './client/download-types.ts';
export { outputError } from './client/output-error.ts';
export { checkTarget, type ContentSource, type ResumeOptions, saveTo, type SaveToOptions } from './client/save.ts';
export { type Receipt, type Received, verify } from './client/verify.ts';
export { type SaveOptions, writeOut } from './client/write-out.ts';
