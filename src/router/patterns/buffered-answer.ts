import { isUtf8 } from 'node:buffer';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { weightOf } from '../../http/accept.ts';
import type { Coding } from '../../http/content-coding.ts';
import type { SyncAnswer } from '../../protocol/app.ts';
import type { Context } from '../context.ts';
import {
  answerHead,
  codedHeaders,
  DATASET_HEADERS,
  type DatasetFacts,
  describeGrowth,
  type Wanted,
} from '../dataset-answer.ts';
import { sendJson } from '../reply.ts';
import type { RequestRecord } from '../request-log.ts';
import type { MemorySink } from './memory-sink.ts';
import { isHttp10, ResponseBody } from './response-body.ts';

const SYNC_HEADERS = { ...DATASET_HEADERS, Vary: 'Accept-Encoding' };

/** Up to this size the answer is made in one piece. */
const ONE_PIECE_BYTES = 1024 * 1024;
/** A multiple of three, so that base64 of the slices joins to the base64 of the whole. */
const SLICE_BYTES = 192 * 1024;

/** How the app wants an answer that is made from memory. */
export interface BufferedAnswerOptions extends Pick<Wanted, 'part' | 'headers'> {
  /** The app takes the answer coded like this. */
  readonly coding?: Coding | undefined;
  /** It is answered with bytes, of the dataset's own type, whatever it accepts. */
  readonly asBytes?: boolean;
}

/** The request that is answered. */
export interface Asked {
  readonly record: RequestRecord;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
}

/** The body of its answer. */
export const openBody = (context: Context, { record, request, response }: Asked): ResponseBody =>
  new ResponseBody(response, context.appLines.of(request), context.limits.paceOf(request, record.tokenId));

/** Answers with what a sink has taken in: with bytes or in JSON. Its memory is given back when the app has read that or is gone. */
export function answerBuffered(
  { record, request, response }: Asked,
  body: ResponseBody,
  sink: MemorySink,
  bytes: Buffer,
  { part, coding, asBytes = false, headers }: BufferedAnswerOptions,
): void {
  response.once('close', () => sink.release());
  const mayCode = part === undefined && !isHttp10(request);
  const answer = { response, body, record, coding: mayCode ? coding : undefined };
  if (asBytes) {
    const { contentType, range } = sink;
    sendBytes(answer, bytes, answerHead(record, sink.known, { contentType, range, headers }));
  } else if (prefersBytes(request.headers.accept)) {
    sendBytes(answer, bytes, answerHead(record, sink.known, { contentType: undefined, range: undefined }));
  } else sendText(request, answer, bytes, sink.known);
}

/** Whether an `Accept` names octet-stream and does not prefer JSON to it (RFC 9110 §12.5.1). */
function prefersBytes(accept: string | undefined): boolean {
  const bytes = weightOf(accept, 'application/octet-stream');
  return bytes > 0 && bytes >= weightOf(accept, 'application/json');
}

/** A response that is to be made, and the coding that it may have. */
interface Answer {
  readonly response: ServerResponse;
  readonly body: ResponseBody;
  readonly record: RequestRecord;
  readonly coding: Coding | undefined;
}

function sendBytes(
  { response, body, coding }: Answer,
  bytes: Buffer,
  { status, headers }: ReturnType<typeof answerHead>,
): void {
  const codes = coding !== undefined && body.isWorthCoding(coding, bytes);
  if (codes) body.encode(coding);
  response.writeHead(status, codes ? codedHeaders(headers, coding) : { ...headers, 'Content-Length': bytes.length });
  void writeAll(response, body, [bytes]);
}

/** Writes pieces at the app's pace. One that goes away in the middle is noticed by whoever listens to the response. */
async function writeAll(
  response: ServerResponse,
  body: ResponseBody,
  pieces: Iterable<Buffer | string>,
): Promise<void> {
  for (const piece of pieces) {
    if (!body.write(typeof piece === 'string' ? Buffer.from(piece) : piece)) await body.drained();
    if (response.destroyed) return;
  }
  body.end(undefined);
}

function sendText(
  request: IncomingMessage,
  { response, body, record, coding }: Answer,
  bytes: Buffer,
  { etag, digest, lastModified, currentSize }: DatasetFacts,
): void {
  const encoding = isUtf8(bytes) ? 'utf8' : 'base64';
  const rest: Omit<SyncAnswer, 'status' | 'data'> = {
    encoding,
    size: bytes.length,
    ...(etag !== undefined && { etag }),
    ...(digest !== undefined && { digest }),
    ...(lastModified !== undefined && { last_modified: lastModified }),
    ...describeGrowth(record.onChange, currentSize),
  };
  const codes = coding !== undefined && body.isWorthCoding(coding, bytes);
  const isShort = bytes.length <= ONE_PIECE_BYTES && !codes;
  if (isShort && !body.isPaced) {
    sendJson(response, 200, { status: 'success', data: bytes.toString(encoding), ...rest }, SYNC_HEADERS);
    return;
  }
  const slices = (): Generator<string> => encodeSlices(bytes, encoding, JSON.stringify(rest).slice(1));
  const headers: Record<string, string | number> = { ...SYNC_HEADERS, 'Content-Type': 'application/json' };
  // HTTP/1.0 has no chunked coding, so the length is worth making the slices twice.
  if (isShort || isHttp10(request)) headers['Content-Length'] = measure(slices());
  if (codes) body.encode(coding);
  response.writeHead(200, codes ? codedHeaders(headers, coding) : headers);
  void writeAll(response, body, slices());
}

function measure(texts: Iterable<string>): number {
  let bytes = 0;
  for (const text of texts) bytes += Buffer.byteLength(text);
  return bytes;
}

/** The JSON answer slice by slice: a whole of it as one string would be several times the dataset. */
function* encodeSlices(bytes: Buffer, encoding: 'utf8' | 'base64', rest: string): Generator<string> {
  yield '{"status":"success","data":"';
  for (let start = 0; start < bytes.length; ) {
    let end = Math.min(start + SLICE_BYTES, bytes.length);
    if (encoding === 'base64') {
      yield bytes.toString('base64', start, end);
    } else {
      // Never between the bytes of one character: those after its first are 10xxxxxx.
      while (end < bytes.length && ((bytes[end] as number) & 0xc0) === 0x80) end--;
      yield JSON.stringify(bytes.toString('utf8', start, end)).slice(1, -1);
    }
    start = end;
  }
  yield `",${rest}`;
}
