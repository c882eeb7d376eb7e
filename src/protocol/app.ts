import * as z from 'zod';
import { datasetInfo } from './answers.ts';
import {
  byteCount,
  datasetName,
  digest,
  encoding,
  etag,
  httpUrl,
  mac,
  minAge,
  onChange,
  requestId,
  timestamp,
} from './fields.ts';
import { MAX_SIGNED_SECONDS } from './limits.ts';

/** The JSON body of every `POST /datasets/request-…`. */
export const datasetRequest = z.object({
  mac,
  dataset: datasetName,
  /** Default `fail`. */
  on_change: onChange.optional(),
  /** Default 0: of any age. */
  min_age: minAge.optional(),
});
export type DatasetRequest = z.infer<typeof datasetRequest>;

/** What an answer says of a dataset that may grow meanwhile; nothing where that was not asked for. */
const growth = {
  on_change: z.literal('prefix').optional(),
  /** Size of the dataset when it was last looked at: more than that of the answer where it has grown. */
  current_size: byteCount.optional(),
};
export type Growth = z.infer<z.ZodObject<typeof growth>>;

/** The JSON answer to `request-sync`. */
export const syncAnswer = z.object({
  status: z.literal('success'),
  data: z.string(),
  encoding,
  size: byteCount,
  etag: etag.optional(),
  digest: digest.optional(),
  last_modified: timestamp.optional(),
  ...growth,
});
export type SyncAnswer = z.infer<typeof syncAnswer>;

/** The JSON answer to `request-offload`. */
export const offloadAnswer = z.object({
  status: z.literal('success'),
  download_url: httpUrl,
  expires_at: timestamp.optional(),
  size: byteCount.optional(),
  etag: etag.optional(),
  digest: digest.optional(),
  last_modified: timestamp.optional(),
  ...growth,
});
export type OffloadAnswer = z.infer<typeof offloadAnswer>;

/** The JSON answer to `request-digest`. */
export const digestAnswer = z.object({ size: byteCount, etag: etag.optional(), digest, ...growth });
export type DigestAnswer = z.infer<typeof digestAnswer>;

/** Where a request stands. */
const requestState = z.enum(['waiting', 'running', 'done', 'failed', 'cancelled']);
export type RequestState = z.infer<typeof requestState>;

/** `application/problem+json` (RFC 9457), with relay's members. */
export const problem = z.object({
  type: z.string().optional(),
  title: z.string().optional(),
  status: z.number().int().optional(),
  detail: z.string().optional(),
  code: z.string(),
  retryable: z.boolean(),
  request_id: requestId.optional(),
  retry_after: z.number().optional(),
  last_seen: timestamp.nullable().optional(),
  next_offset: byteCount.optional(),
  window_end: byteCount.optional(),
  size: byteCount.optional(),
  limit: byteCount.optional(),
});
export type Problem = z.infer<typeof problem>;

/** The JSON answer to `GET /requests/{id}`. */
export const requestStatus = z.object({
  request_id: requestId,
  state: requestState,
  bytes_done: byteCount,
  total_size: byteCount.nullable(),
  etag: etag.nullable(),
  digest: digest.nullable(),
  download_url: httpUrl.optional(),
  expires_at: timestamp.optional(),
  last_modified: timestamp.optional(),
  ...growth,
  error: problem.optional(),
});
export type RequestStatus = z.infer<typeof requestStatus>;

/** A connector as the listings show it. */
export const connectorInfo = z.object({
  mac: z.string(),
  state: z.enum(['online', 'offline']),
  last_seen: timestamp,
  /** How it is connected; null while it is not. */
  link: z.enum(['websocket', 'sse']).nullable(),
  version: z.string().nullable(),
  name: z.string().nullable(),
  labels: z.record(z.string(), z.string()),
  /** When the token that it is connected with expires. */
  token_expires_at: timestamp.optional(),
});
export type ConnectorInfo = z.infer<typeof connectorInfo>;

/** The JSON answer to `GET /connectors`. */
export const connectorList = z.object({ connectors: z.array(connectorInfo), next: z.string().optional() });

/** The JSON answer to `GET /connectors/{mac}/datasets`. */
export const datasetList = z.object({
  datasets: z.array(datasetInfo),
  /** Where names are rolled up: what they begin with, up to and with the delimiter. */
  prefixes: z.array(z.string()).optional(),
  next: z.string().optional(),
});

/** The JSON body of `POST /datasets/sign`. */
export const signRequest = z.object({
  mac,
  dataset: datasetName,
  /** For how many seconds the URL is to be good. */
  expires_in: z.number().int().min(1).max(MAX_SIGNED_SECONDS).optional(),
});

/** The JSON answer to it. */
export const signedUrl = z.object({
  // The name of a dataset may be longer than other URLs are.
  url: z.string(),
  /** When the URL ends; null where the router asks nobody for a token, so that it has no end. */
  expires_at: timestamp.nullable(),
});
export type SignedUrl = z.infer<typeof signedUrl>;
