import * as z from 'zod';
import { decodeJson, type Decoded, undecodable } from './codec.ts';
import { RelayError } from './errors.ts';
import { byteCount, datasetName, etag, httpUrl, minAge, requestId, timestamp, traceparent } from './fields.ts';
import { MAX_DATASET_NAME_BYTES, MAX_FRAME_BYTES, MAX_GLOB_LENGTH, MAX_LIST_LIMIT } from './limits.ts';
import { DELIMITER } from './name-filter.ts';
import { isRequestId } from './request-id.ts';

/** A request that whoever holds it may make, because its URL is signed. */
export const signedRequest = z.object({
  method: z.literal('PUT'),
  url: httpUrl,
  headers: z.record(z.string(), z.string()),
});
export type SignedRequest = z.infer<typeof signedRequest>;

/** Where an offloaded dataset goes in one piece, and the name to give back for it. */
const uploadTarget = signedRequest.extend({
  download_url: httpUrl,
  expires_at: timestamp,
  /** The content codings that PUTs may have, those of parts as well; only those that the connector said. Unknown ones are left out. */
  accept_encoding: z.array(z.string()).optional(),
});
export type UploadTarget = z.infer<typeof uploadTarget>;

/** What every command that asks for an answer has. */
const identified = {
  request_id: requestId,
  traceparent,
  /** A result in a message of up to so many bytes may come over the link, in place of a POST. */
  inline_max: byteCount.optional(),
};
const addressed = { ...identified, dataset_name: datasetName };

/** The dataset as it must be. */
const version = {
  if_match: etag.optional(),
  /** The bytes that were there at opening are wanted, though it may grow meanwhile; only to who said `prefix`. */
  on_change: z.literal('prefix').optional(),
  /** It must not have changed for so many seconds by the node's own clock; only to who said `min-age`. */
  min_age: minAge.optional(),
};

/** The dataset as it must be, the part that is wanted, and whether its digest is. */
const selection = {
  ...version,
  offset: byteCount.optional(),
  length: byteCount.optional(),
  want_digest: z.boolean().optional(),
  /** The content codings that binary bodies may have; only those that the connector said. Unknown ones are left out. */
  accept_encoding: z.array(z.string()).optional(),
};

const getDataset = z.object({
  command: z.literal('get_dataset'),
  ...addressed,
  ...selection,
  /** Above this the router will not take it, in bytes: answer `dataset_too_large` at once. */
  max_size: byteCount.optional(),
});
const getDatasetStream = z.object({
  command: z.literal('get_dataset_stream'),
  ...addressed,
  ...selection,
  /** Up to where chunks may be sent before it is their turn; only to who said `parallel`. */
  window_end: byteCount.optional(),
});
const getDatasetOffload = z.object({
  command: z.literal('get_dataset_offload'),
  ...addressed,
  ...version,
  /** Without it a router of before wants one. */
  want_digest: z.boolean().optional(),
  upload: uploadTarget,
});
const stat = z.object({
  command: z.literal('stat'),
  ...addressed,
  ...version,
  /** Whether to tell the digest as well, where it is known without reading; only to who said `digest`. */
  want_digest: z.boolean().optional(),
});
const digest = z.object({ command: z.literal('digest'), ...addressed, ...version });
const list = z.object({
  command: z.literal('list'),
  ...identified,
  limit: z.number().int().min(1).max(MAX_LIST_LIMIT),
  /** Names after this one, in order of code units. */
  cursor: z.string().optional(),
  /** Only names that begin with this, and that match this; only to who said `list-filter`, like what follows. */
  prefix: z.string().max(MAX_DATASET_NAME_BYTES).optional(),
  glob: z.string().max(MAX_GLOB_LENGTH).optional(),
  /** Names with another slash beyond the prefix are given as one of `prefixes`, up to that slash. */
  delimiter: z.literal(DELIMITER).optional(),
  /** Only what has not changed for so many seconds; only to who said `min-age`. */
  min_age: minAge.optional(),
});
const cancel = z.object({ command: z.literal('cancel'), request_id: requestId });

/** What the router sends down a link. The schema drops fields that it does not know. */
export const command = z.discriminatedUnion('command', [
  getDataset,
  getDatasetStream,
  getDatasetOffload,
  stat,
  digest,
  list,
  cancel,
]);
export type Command = z.infer<typeof command>;
export type CommandName = Command['command'];
export type CommandOf<N extends CommandName> = Extract<Command, { command: N }>;

/** What the router says down a link without asking for anything: a binary body of this request has begun to arrive. */
export interface Receiving {
  readonly event: 'receiving';
  readonly request_id: string;
}

const NAMES: ReadonlySet<string> = new Set(command.options.map((option) => option.shape.command.value));

/** A message that is no command: enough of it to answer, or to ignore it knowingly. */
const anyMessage = z.object({
  command: z.string().optional().catch(undefined),
  event: z.string().optional().catch(undefined),
  request_id: z.unknown().optional(),
});

/** A command, or an event, as the text of one WebSocket message or one SSE `data:` line. @throws {RelayError} internal when it is over the frame limit. */
export function encodeCommand(value: Command | Receiving): string {
  const text = JSON.stringify(value);
  if (exceedsFrame(text)) throw new RelayError('internal', 'a command exceeds the frame limit');
  return text;
}

function exceedsFrame(text: string): boolean {
  // A code unit becomes three bytes at most.
  if (text.length * 3 <= MAX_FRAME_BYTES) return false;
  return text.length > MAX_FRAME_BYTES || new TextEncoder().encode(text).length > MAX_FRAME_BYTES;
}

/** What came down a link. */
export type Incoming =
  | { readonly kind: 'command'; readonly command: Command }
  /** A command that is unknown or malformed, to be answered with `error` under its id. */
  | { readonly kind: 'refused'; readonly requestId: string; readonly error: RelayError }
  /** An event, such as `receiving`, and the request that it is about, if any; unknown ones are for nobody. */
  | { readonly kind: 'event'; readonly event: string; readonly requestId?: string };

/** Reads one message from a link. Fails only where there is not even an id to answer under. */
export function decodeIncoming(text: string): Decoded<Incoming> {
  if (exceedsFrame(text)) return undecodable(new RelayError('invalid_request', 'the message exceeds the frame limit'));
  const message = decodeJson(anyMessage, text);
  if (!message.ok) return message;
  const { command: name, event, request_id: given } = message.value;
  const id = isRequestId(given) ? given : undefined;
  if (name === undefined && event !== undefined) {
    return { ok: true, value: { kind: 'event', event, ...(id !== undefined && { requestId: id }) } };
  }
  if (name !== undefined && NAMES.has(name)) {
    const known = decodeJson(command, text);
    if (known.ok) return { ok: true, value: { kind: 'command', command: known.value } };
    if (id !== undefined) return { ok: true, value: { kind: 'refused', requestId: id, error: known.error } };
    return known;
  }
  if (id === undefined) return undecodable(new RelayError('invalid_request', 'the message has no usable request_id'));
  const error = new RelayError(
    'not_supported',
    `this connector does not know the command ${JSON.stringify(name ?? null)}`,
  );
  return { ok: true, value: { kind: 'refused', requestId: id, error } };
}
