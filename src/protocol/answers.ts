import * as z from 'zod';
import type { RelayError } from './errors.ts';
import { fromConnector } from './failures.ts';
import {
  byteCount,
  contentType,
  datasetName,
  digest,
  encoding,
  etag,
  httpUrl,
  requestId,
  timestamp,
} from './fields.ts';
import { MAX_PARTS, MAX_PARTS_PER_REQUEST } from './limits.ts';
import { signedRequest } from './commands.ts';

/** One dataset in a listing or as the answer to `stat`. */
export const datasetInfo = z.object({
  name: datasetName,
  size: byteCount,
  /** Time of the last change, RFC 3339. */
  mtime: timestamp.optional(),
  etag: etag.optional(),
  content_type: contentType.optional(),
  /** Where `stat` asked for it and it was known. */
  digest: digest.optional(),
  /** Of all that is there, where `size` is that of the first bytes that were asked for; only in the answer to `stat`. */
  current_size: byteCount.optional(),
});
export type DatasetInfo = z.infer<typeof datasetInfo>;

/** The same in a listing. Whether its name is one is looked at later, so that one that is none hides none of the others. */
const listedDataset = datasetInfo.extend({ name: z.string() });

/** Number and entity tag of a part that the store has taken. */
const uploadedPart = z.object({
  part_number: z.number().int().min(1).max(MAX_PARTS),
  etag: z.string().min(1).max(512),
});
export type UploadedPart = z.infer<typeof uploadedPart>;
/** A part as the store has it, with its size in bytes. */
export type StoredPart = UploadedPart & { readonly size: number };

/** Longest message of a failure, in code units. */
const MAX_FAILURE_MESSAGE_LENGTH = 4096;

/** A failure, in any pattern, instead of an answer. */
const failure = z.object({
  code: z.string().max(64),
  message: z.string().max(MAX_FAILURE_MESSAGE_LENGTH).optional(),
  size: byteCount.optional(),
  /** Seconds after which asking again makes sense. */
  retry_after: byteCount.optional(),
});

/**
 * The JSON body of `POST /datasets/result`. Which fields make sense depends on the command: `error` for any; `data` for
 * `get_dataset`; `download_url` for `get_dataset_offload`; `dataset` for `stat`; `datasets` and `prefixes` for `list`; `digest` for `digest`.
 */
export const result = z.object({
  request_id: requestId,
  error: failure.optional(),
  data: z.string().optional(),
  encoding: encoding.default('utf8'),
  download_url: httpUrl.optional(),
  parts: z.array(uploadedPart).min(1).max(MAX_PARTS).optional(),
  size: byteCount.optional(),
  /** Of the dataset at the last look, which is more than `size` where it has grown; for `on_change`. */
  current_size: byteCount.optional(),
  etag: etag.optional(),
  digest: digest.optional(),
  last_modified: timestamp.optional(),
  content_type: contentType.optional(),
  dataset: datasetInfo.optional(),
  datasets: z.array(listedDataset).optional(),
  /** Names that were rolled up, up to and with the slash. */
  prefixes: z.array(z.string()).optional(),
  /** Cursor of the next page, where there is one. */
  next: z.string().optional(),
});
export type Result = z.infer<typeof result>;

/** How far into malformed JSON an id is looked for. */
const BEGINNING_LENGTH = 4096;
const NAMED_ID = /"request_id"\s*:\s*"([\w-]{1,128})"/;

/** The request that the JSON of an unusable result, or the beginning of it, is for; undefined where that cannot be read. */
export function readRequestId(text: string): string | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return NAMED_ID.exec(text.slice(0, BEGINNING_LENGTH))?.[1];
  }
  const named = z.object({ request_id: requestId }).safeParse(value);
  return named.success ? named.data.request_id : undefined;
}

/** The failure in a result as an error, where there is one. */
export function readFailure(value: Result): RelayError | undefined {
  if (value.error === undefined) return undefined;
  const { code, message, size, retry_after } = value.error;
  const details = { ...(size !== undefined && { size }), ...(retry_after !== undefined && { retry_after }) };
  return fromConnector(code, message ?? '', details);
}

/** A failure as the JSON body of a result; words beyond what the other side takes are left out. */
export function encodeFailure(id: string, error: RelayError): string {
  const { size, retry_after } = error.details;
  return JSON.stringify({
    request_id: id,
    error: {
      code: error.code,
      message: error.message.slice(0, MAX_FAILURE_MESSAGE_LENGTH),
      ...(size !== undefined && { size }),
      ...(retry_after !== undefined && { retry_after }),
    },
  });
}

/** The JSON body of `POST /datasets/stream/init`. Sizes and offsets speak of the whole dataset, before any coding. */
export const streamInit = z.object({
  request_id: requestId,
  total_size: byteCount.optional(),
  content_type: contentType.optional(),
  etag: etag.optional(),
  last_modified: timestamp.optional(),
});
export type StreamInit = z.infer<typeof streamInit>;

/** The JSON body of `POST /datasets/stream/chunk`. */
export const streamChunk = z.object({
  request_id: requestId,
  offset: byteCount.optional(),
  data: z.string(),
  encoding: encoding.default('utf8'),
});
export type StreamChunk = z.infer<typeof streamChunk>;

/** The JSON body of `POST /datasets/stream/complete`. */
export const streamComplete = z.object({
  request_id: requestId,
  total_size: byteCount.optional(),
  digest: digest.optional(),
  /** Of the dataset at the last look, for `on_change`. */
  current_size: byteCount.optional(),
});
export type StreamComplete = z.infer<typeof streamComplete>;

/** The JSON answer to `result`, `init`, `chunk`, `complete` and `progress`. */
export const receipt = z.object({
  request_id: requestId,
  /** The offset of the next byte that is not there yet. */
  next_offset: byteCount.optional(),
  /** Up to where chunks may be sent before it is their turn; where the connector said `parallel`. */
  window_end: byteCount.optional(),
});
export type Receipt = z.infer<typeof receipt>;

/** The JSON body of `POST /datasets/offload/parts`. */
export const partsRequest = z.object({
  request_id: requestId,
  part_numbers: z.array(z.number().int().min(1).max(MAX_PARTS)).min(1).max(MAX_PARTS_PER_REQUEST),
  /** Size of the dataset, from which the router chooses the size of the parts. */
  total_size: byteCount.optional(),
  /** Whether to say which parts the store has already. Only for who holds to the `if_match` of the command. */
  want_done: z.boolean().optional(),
});
export type PartsRequest = z.infer<typeof partsRequest>;

/** The JSON answer to it. Every part but the last has `part_size` bytes. */
export const partsGrant = z.object({
  parts: z.array(signedRequest.extend({ part_number: z.number().int() })),
  part_size: byteCount.min(1),
  /** Parts of this very content that are stored, and need not be sent again: named in the result as if they just had been. */
  done: z.array(uploadedPart.extend({ size: byteCount })).optional(),
  /** Whether a part may be sent in several PUTs, each with a `Content-Range` within the part. */
  ranges: z.boolean().optional(),
  expires_at: timestamp,
});
export type PartsGrant = z.infer<typeof partsGrant>;

/** The JSON body of `POST /datasets/offload/progress`. */
export const offloadProgress = z.object({
  request_id: requestId,
  bytes_done: byteCount,
  total_size: byteCount.optional(),
});
export type OffloadProgress = z.infer<typeof offloadProgress>;

/** The JSON body that `POST /connectors/{mac}/heartbeat` may have; `draining` is the one event that counts. */
export const heartbeat = z.object({ event: z.string().optional() });
