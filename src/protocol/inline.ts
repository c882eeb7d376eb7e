import * as z from 'zod';
import { readRequestId, result, type Result } from './answers.ts';
import { type Decoded, decodeJson, undecodable } from './codec.ts';
import { RelayError } from './errors.ts';
import { byteCount, contentType, digest, etag, requestId, timestamp } from './fields.ts';

/** What is said of the bytes of an inline result: the fields of a binary `POST /datasets/result`. */
const inlineHead = z.object({
  request_id: requestId,
  total_size: byteCount.optional(),
  current_size: byteCount.optional(),
  offset: byteCount.optional(),
  etag: etag.optional(),
  digest: digest.optional(),
  content_type: contentType.optional(),
  last_modified: timestamp.optional(),
});
export type InlineHead = z.infer<typeof inlineHead>;

/** A text message with a result. */
const inlineResult = z.object({ result });
/** One with a result that may not be usable. */
const namedResult = z.object({ result: z.object({ request_id: requestId }) });

/** A result that came over a link in place of a POST: bytes in a binary message, all else in a text message. */
export type InlineResult =
  | { readonly kind: 'bytes'; readonly head: InlineHead; readonly bytes: Uint8Array }
  | { readonly kind: 'result'; readonly result: Result };

const LINE_FEED = 10;
const utf8 = new TextDecoder();

/** What precedes the bytes in a binary message: a line of JSON, in which no line feed can be. */
export const encodeInlineHead = (head: InlineHead): string => `${JSON.stringify(head)}\n`;

/** The text message that carries a result without bytes. */
export const encodeInlineResult = (value: Omit<Result, 'encoding'>): string => JSON.stringify({ result: value });

/** Reads a binary message. Its bytes are a part of `message`. Where it is none, the error names the request, if that can be read. */
export function decodeInlineBytes(message: Uint8Array): Decoded<InlineResult> {
  const end = message.indexOf(LINE_FEED);
  if (end < 0) return undecodable(new RelayError('invalid_request', 'the message has no line of JSON'));
  const line = utf8.decode(message.subarray(0, end));
  const head = decodeJson(inlineHead, line);
  if (!head.ok) return naming(readRequestId(line), head.error);
  return { ok: true, value: { kind: 'bytes', head: head.value, bytes: message.subarray(end + 1) } };
}

/** Reads the `result` member of a text message. Where it has none, the error names the request, if that can be read. */
export function decodeInlineResult(text: string): Decoded<InlineResult> {
  const message = decodeJson(inlineResult, text);
  if (message.ok) return { ok: true, value: { kind: 'result', result: message.value.result } };
  const named = decodeJson(namedResult, text);
  if (named.ok) return naming(named.value.result.request_id, message.error);
  return naming(RESULT_MEMBER.test(text) ? readRequestId(text) : undefined, message.error);
}

/** What a text message with a result begins with, be it JSON or not. */
const RESULT_MEMBER = /^\s*\{\s*"result"\s*:/;

const naming = (id: string | undefined, error: RelayError): Decoded<never> =>
  undecodable(id === undefined ? error : error.with({ request_id: id }));
