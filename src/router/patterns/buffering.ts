import { isUtf8 } from 'node:buffer';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { weightOf } from '../../http/accept.ts';
import type { Coding } from '../../http/content-coding.ts';
import type { SyncAnswer } from '../../protocol/app.ts';
import { RelayError } from '../../protocol/errors.ts';
import type { BufferBudget } from '../buffer-budget.ts';
import { freePiece } from '../../http/free-piece.ts';
import type { ByteRange } from '../../http/range.ts';
import type { Context } from '../context.ts';
import {
  answerHead,
  codedHeaders,
  DATASET_HEADERS,
  type DatasetFacts,
  describeGrowth,
  explainFailure,
  readEnd,
  readFacts,
  type Wanted,
} from '../dataset-answer.ts';
import { sendError, sendJson } from '../reply.ts';
import type { RequestRecord } from '../request-log.ts';
import { type Completion, type Sink, Transfer, type TransferMeta } from '../transfer.ts';
import { acceptEncoding } from './accept-encoding.ts';
import { holdToAge } from './min-age.ts';
import { holdToPrefix } from './on-change.ts';
import { fitPart, selectPart } from './part.ts';
import { isHttp10, ResponseBody } from './response-body.ts';

const SYNC_HEADERS = { ...DATASET_HEADERS, Vary: 'Accept-Encoding' };

/** Up to this size the answer is made in one piece. */
const ONE_PIECE_BYTES = 1024 * 1024;
/** A multiple of three, so that base64 of the slices joins to the base64 of the whole. */
const SLICE_BYTES = 192 * 1024;

/** How the app wants its answer. */
interface BufferOptions extends Wanted {
  /** Bring the SHA-256 of the whole, where the connector can. */
  readonly wantDigest: boolean;
  /** The app takes the answer coded like this. */
  readonly coding: Coding | undefined;
  /** It is answered with bytes, of the dataset's own type, whatever it accepts. */
  readonly asBytes?: boolean;
}

/** Pattern A: the whole dataset is taken in, and then the app gets one complete answer. */
export function buffer(
  context: Context,
  record: RequestRecord,
  request: IncomingMessage,
  response: ServerResponse,
  options: BufferOptions,
): void {
  const { bufferMaxBytes } = context.options;
  const { wantDigest, part, ifMatch } = options;
  const sink = new MemorySink(context.budget, bufferMaxBytes, options);
  const transfer = new Transfer(sink, part);
  record.progress = () => ({ bytesDone: transfer.bytesDone, ...sink.known });
  const exchange = context.dispatcher.submit({
    id: record.id,
    mac: record.mac,
    name: 'get_dataset',
    command: ({ hello }) => ({
      command: 'get_dataset',
      request_id: record.id,
      dataset_name: record.dataset,
      max_size: bufferMaxBytes,
      ...holdToPrefix(hello, record.onChange),
      ...holdToAge(hello, record.minAgeS),
      ...selectPart(part, transfer.resumption, ifMatch),
      ...acceptEncoding(hello),
      ...(wantDigest && part === undefined && hello.capabilities.has('digest') && { want_digest: true }),
    }),
    resend: 'always',
    beginTimeoutMs: () => context.options.firstByteTimeoutMs,
    silenceTimeoutMs: () => context.options.silenceTimeoutMs,
    answer: {
      transfer,
      fail: (thrown) => {
        const error = explainFailure(thrown, options);
        if (sink.isAnswered) record.succeed();
        else record.fail(error);
        transfer.abort(error);
        sink.release();
        if (sink.isAnswered) return;
        const { size } = error.details;
        sendError(
          request,
          response,
          error.code === 'dataset_too_large' ? tooLargeToBuffer(size, bufferMaxBytes).with(error.details) : error,
        );
      },
    },
  });
  transfer.attach(exchange);
  record.onAbort((error) => exchange.fail(error));
  sink.onBegin = () => record.run();
  sink.onEnd = (bytes) => {
    record.succeed();
    // The memory is the app's until it has read its answer or gone away.
    response.once('close', () => sink.release());
    const pace = context.limits.paceOf(request, record.tokenId);
    const body = new ResponseBody(response, context.appLines.of(request), pace);
    const mayCode = part === undefined && !isHttp10(request);
    const answer = { response, body, record, coding: mayCode ? options.coding : undefined };
    if (options.asBytes === true) {
      const { contentType, range } = sink;
      sendBytes(answer, bytes, answerHead(record, sink.known, { contentType, range, headers: options.headers }));
    } else if (prefersBytes(request.headers.accept)) {
      sendBytes(answer, bytes, answerHead(record, sink.known, { contentType: undefined, range: undefined }));
    } else sendText(request, answer, bytes, sink.known);
  };
}

class MemorySink implements Sink {
  readonly #budget: BufferBudget;
  readonly #maxBytes: number;
  #pieces: Buffer[] = [];
  /** Room for the whole where its size was announced: the pieces are copied there, so that it is in memory only once. */
  #whole: Buffer | undefined;
  #length = 0;
  #reserved = 0;
  readonly #wanted: Wanted;
  known: DatasetFacts = {};
  contentType: string | undefined;
  /** The part that is taken in; undefined for the whole. */
  range: ByteRange | undefined;
  /** The app was answered without the dataset. */
  isAnswered = false;
  onBegin: () => void = () => {};
  onEnd: (bytes: Buffer) => void = () => {};

  constructor(budget: BufferBudget, maxBytes: number, wanted: Wanted) {
    this.#budget = budget;
    this.#maxBytes = maxBytes;
    this.#wanted = wanted;
  }

  begin(meta: TransferMeta): void {
    const facts = readFacts(meta);
    const { part, admit } = this.#wanted;
    if (admit?.(facts) === false) {
      this.isAnswered = true;
      throw new RelayError('cancelled', 'the app needs nothing of it');
    }
    this.range = fitPart(part, meta.totalSize);
    const size = this.range?.length ?? meta.totalSize;
    if (size !== undefined) {
      if (size > this.#maxBytes) throw tooLargeToBuffer(meta.totalSize, this.#maxBytes);
      this.#reserve(size);
      this.#whole = Buffer.allocUnsafe(size);
    }
    this.known = facts;
    this.contentType = meta.contentType;
    this.onBegin();
  }

  write(bytes: Buffer): boolean {
    if (this.#whole !== undefined) {
      bytes.copy(this.#whole, this.#length);
      process.nextTick(freePiece, bytes);
    } else {
      if (this.#length + bytes.length > this.#maxBytes) throw tooLargeToBuffer(undefined, this.#maxBytes);
      this.#reserve(bytes.length);
      this.#pieces.push(bytes);
    }
    this.#length += bytes.length;
    return true;
  }

  async drained(): Promise<void> {}

  end(completion: Completion): void {
    const bytes = this.#whole ?? Buffer.concat(this.#pieces, this.#length);
    this.#pieces = [];
    this.known.totalSize ??= bytes.length;
    Object.assign(this.known, readEnd(completion));
    this.onEnd(bytes);
  }

  release(): void {
    this.#budget.release(this.#reserved);
    this.#reserved = 0;
    this.#pieces = [];
    this.#whole = undefined;
  }

  #reserve(bytes: number): void {
    this.#budget.reserve(bytes);
    this.#reserved += bytes;
  }
}

/** The error for a dataset above the ceiling of pattern A. */
export function tooLargeToBuffer(size: number | undefined, limit: number): RelayError {
  const what = size === undefined ? 'the dataset' : `the dataset has ${size} bytes, which`;
  return new RelayError(
    'dataset_too_large',
    `${what} is more than the ${limit} that this router buffers; use request-stream or request-offload`,
    {
      details: { limit, ...(size !== undefined && { size }) },
    },
  );
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
