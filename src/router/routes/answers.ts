import type { IncomingMessage } from 'node:http';
import type { Readable } from 'node:stream';
import { finished } from 'node:stream/promises';
import * as z from 'zod';
import { decodeBody, readCoding } from '../../http/coder.ts';
import { parseDigest } from '../../http/digest.ts';
import {
  offloadProgress,
  partsRequest,
  readRequestId,
  type Receipt,
  type Result,
  result,
  streamChunk,
  streamComplete,
  streamInit,
} from '../../protocol/answers.ts';
import { decodeValue, unwrap } from '../../protocol/codec.ts';
import { RelayError } from '../../protocol/errors.ts';
import { byteCount, contentType, etag } from '../../protocol/fields.ts';
import { HEADER } from '../../protocol/headers.ts';
import { MAX_CONTROL_BODY_BYTES, MAX_JSON_CHUNK_BYTES } from '../../protocol/limits.ts';
import { isRequestId } from '../../protocol/request-id.ts';
import type { Context } from '../context.ts';
import { type Exchange, Posts } from '../exchange.ts';
import { tooLargeToBuffer } from '../patterns/memory-sink.ts';
import { sendJson } from '../reply.ts';
import { decodeData, failUnreadable, takePosted, takeResult, transferOf } from '../results.ts';
import type { TransferMeta } from '../sink.ts';
import { readJson } from './read-json.ts';
import type { Call, Route } from './route.ts';

const route = (path: string, handle: (context: Context, call: Call) => Promise<void>): Route => ({
  method: 'POST',
  path,
  scope: 'answer',
  handle,
});

/** The endpoints by which connectors answer their commands. */
export const answerRoutes: Route[] = [
  route('/datasets/result', async (context, call) => {
    const id = readBinaryId(call.request);
    if (id !== undefined) {
      const offset = readOffset(call.request);
      await answerOnce(context, call, id, 'result', (exchange) =>
        arriving(context, exchange, call.request, (body) => {
          const take = async (): Promise<number> =>
            transferOf(exchange).receiveWhole(body, readMeta(call.request, !offset), offset);
          // One that names an offset may be sent again.
          return offset === undefined ? takePosted(exchange, take) : take();
        }),
      );
      return;
    }
    const body = await readResult(context, call);
    await answerOnce(context, call, body.request_id, 'result', (exchange) =>
      takePosted(exchange, () => takeResult(exchange, body)),
    );
  }),

  route('/datasets/stream/init', async (context, call) => {
    const body = await readJson(context, call.request, streamInit, MAX_CONTROL_BODY_BYTES);
    await answerOnce(context, call, body.request_id, 'init', async (exchange) =>
      transferOf(exchange).init({
        totalSize: body.total_size,
        etag: body.etag,
        contentType: body.content_type,
        lastModified: body.last_modified,
      }),
    );
  }),

  route('/datasets/stream/chunk', async (context, call) => {
    const id = readBinaryId(call.request);
    if (id !== undefined) {
      const exchange = findFor(context, call, id);
      const offset = readOffset(call.request);
      const nextOffset = await naming(
        id,
        arriving(context, exchange, call.request, (body) =>
          transferOf(exchange).receive(body, offset, readMeta(call.request, false), contentLength(call.request)),
        ),
      );
      sendReceipt(call, { request_id: id, next_offset: nextOffset, ...windowOf(exchange) });
      return;
    }
    const begunAt = performance.now();
    const body = await readJson(context, call.request, streamChunk, MAX_JSON_CHUNK_BYTES);
    const exchange = findFor(context, call, body.request_id);
    const bytes = decodeData(body.data, body.encoding);
    const nextOffset = await naming(body.request_id, transferOf(exchange).chunk(body.offset, bytes, begunAt));
    sendReceipt(call, { request_id: body.request_id, next_offset: nextOffset, ...windowOf(exchange) });
  }),

  route('/datasets/stream/complete', async (context, call) => {
    const body = await readJson(context, call.request, streamComplete, MAX_CONTROL_BODY_BYTES);
    await answerOnce(context, call, body.request_id, 'complete', async (exchange) =>
      transferOf(exchange).complete(body.total_size, { digest: body.digest, currentSize: body.current_size }),
    );
  }),

  route('/datasets/offload/parts', async (context, call) => {
    const body = await readJson(context, call.request, partsRequest, MAX_CONTROL_BODY_BYTES);
    const exchange = findFor(context, call, body.request_id);
    if (exchange.answer.grantParts === undefined)
      throw new RelayError('invalid_request', `a ${exchange.name} is not uploaded in parts`);
    exchange.touch();
    sendJson(call.response, 200, await exchange.answer.grantParts(body));
  }),

  route('/datasets/offload/progress', async (context, call) => {
    const body = await readJson(context, call.request, offloadProgress, MAX_CONTROL_BODY_BYTES);
    const exchange = findFor(context, call, body.request_id);
    exchange.touch();
    exchange.answer.takeProgress?.(body);
    sendReceipt(call, { request_id: body.request_id });
  }),
];

/** Answers a POST that counts once: sent again, it changes nothing and gets the first one's reply. */
async function answerOnce(
  context: Context,
  call: Call,
  id: string,
  kind: string,
  take: (exchange: Exchange) => Promise<number | undefined>,
): Promise<void> {
  const ended = context.dispatcher.findEnded(id);
  if (ended !== undefined) context.access.requireAsked(call.grant, ended);
  const earlier = ended?.posts?.receipts.get(kind);
  if (earlier !== undefined) {
    await passOver(context, call.request);
    sendReceipt(call, earlier);
    return;
  }
  const exchange = findFor(context, call, id);
  const posts = (exchange.posts ??= new Posts());
  const running = posts.underWay.get(kind);
  const isRead = running === undefined ? undefined : passOver(context, call.request);
  const taking = running ?? take(exchange);
  posts.underWay.set(kind, taking);
  const nextOffset = await naming(id, taking).finally(() => posts.underWay.delete(kind));
  const receipt: Receipt = {
    request_id: id,
    ...(nextOffset !== undefined && { next_offset: nextOffset }),
    ...windowOf(exchange),
  };
  posts.receipts.set(kind, receipt);
  await isRead;
  sendReceipt(call, receipt);
}

/**
 * Lets a body go by that changes nothing. One that is answered before it is over has its connection closed, and its sender
 * may see the break before the answer: so it is waited for, as long as a body may take at first.
 */
async function passOver(context: Context, request: IncomingMessage): Promise<void> {
  request.resume();
  await finished(request, { signal: AbortSignal.timeout(context.limits.bodyPace.timeoutMs) }).catch(() => {});
}

/**
 * The exchange that a POST is for.
 * @throws {RelayError} request_gone when there is none; forbidden, unauthorized when this connector was not asked.
 */
function findFor(context: Context, { grant }: Call, id: string): Exchange {
  const exchange = context.dispatcher.find(id);
  context.access.requireAsked(grant, exchange);
  return exchange;
}

/** What goes wrong with an answer names the request that it is for. */
async function naming<T>(id: string, outcome: Promise<T>): Promise<T> {
  try {
    return await outcome;
  } catch (error) {
    throw RelayError.from(error).with({ request_id: id });
  }
}

/**
 * Follows a body while it arrives, decoded. Its connector hears that it does, since what stands in between may hold it back; one that
 * breaks off may mean that the connector is gone.
 */
async function arriving(
  context: Context,
  exchange: Exchange,
  request: IncomingMessage,
  receive: (content: Readable) => Promise<number>,
): Promise<number> {
  const content = decodeBody(request);
  try {
    const received = receive(content);
    request.once('data', () => context.dispatcher.sayReceiving(exchange));
    return await received;
  } catch (error) {
    if (RelayError.from(error).code === 'transfer_interrupted') context.dispatcher.bodyBroke(exchange);
    throw error;
  } finally {
    // What is left of a body that nobody wants is not decoded.
    if (content !== request) content.destroy();
  }
}

/** Up to where the connector may send ahead, which every answer tells anew. */
function windowOf({ answer }: Exchange): { window_end?: number } {
  const end = answer.transfer?.windowEnd;
  return end === undefined ? {} : { window_end: end };
}

function sendReceipt({ response }: Call, receipt: Receipt): void {
  sendJson(response, 200, receipt);
}

/** The id of a binary POST; undefined for a JSON one. */
function readBinaryId(request: IncomingMessage): string | undefined {
  const id = request.headers[HEADER.requestId.toLowerCase()];
  if (id === undefined) return undefined;
  if (!isRequestId(id)) throw new RelayError('invalid_request', `${HEADER.requestId} is not a request id`);
  return id;
}

/** What the headers of a binary POST say of the dataset. @param whole the body is all of it, so that its length is the size. */
function readMeta(request: IncomingMessage, whole: boolean): TransferMeta {
  const { headers } = request;
  const field = <T>(name: string, schema: z.ZodType<T>): T | undefined => {
    const value = headers[name.toLowerCase()];
    if (value === undefined) return undefined;
    const checked = decodeValue(schema, value);
    if (!checked.ok) throw new RelayError('invalid_request', `${name}: ${checked.error.message}`);
    return checked.value;
  };
  const modified = Date.parse(headers['last-modified'] ?? '');
  return {
    totalSize: readCount(request, HEADER.totalSize) ?? (whole ? contentLength(request) : undefined),
    currentSize: readCount(request, HEADER.currentSize),
    etag: field(HEADER.etag, etag),
    // curl's default for a body without a type says nothing of the dataset.
    contentType:
      headers['content-type'] === 'application/x-www-form-urlencoded' ? undefined : field('Content-Type', contentType),
    digest: parseDigest(headers[HEADER.reprDigest.toLowerCase()] as string | undefined),
    lastModified: Number.isNaN(modified) ? undefined : new Date(modified).toISOString(),
  };
}

/** How many bytes of content a body has, as far as that is known before they are there. */
function contentLength(request: IncomingMessage): number | undefined {
  const length = request.headers['content-length'];
  return length === undefined || readCoding(request) !== undefined ? undefined : Number(length);
}

const readOffset = (request: IncomingMessage): number | undefined => readCount(request, HEADER.offset);

function readCount(request: IncomingMessage, name: string): number | undefined {
  const value = request.headers[name.toLowerCase()];
  if (value === undefined) return undefined;
  return unwrap(decodeValue(byteCount, typeof value === 'string' && /^\d{1,16}$/.test(value) ? Number(value) : value));
}

/**
 * Reads a JSON result, which may hold a whole dataset: base64 makes four thirds of it, and escaping may double a text. It
 * takes its room from the budget of pattern A. One that is too large, or does not fit, ends the request that it is for, so
 * that its app need not wait for more.
 */
async function readResult(context: Context, call: Call): Promise<Result> {
  const { bufferMaxBytes } = context.options;
  const limit = 2 * bufferMaxBytes + MAX_CONTROL_BODY_BYTES;
  let reserved = 0;
  const reserve = (bytes: number): void => {
    context.budget.reserve(bytes);
    reserved += bytes;
  };
  try {
    return await readJson(context, call.request, result, limit, {
      reserve,
      refuse: (error, beginning) => {
        const id = readRequestId(beginning);
        if (error.code === 'invalid_request' && error.details.limit === undefined) {
          if (id === undefined) return error;
          failUnreadable(context, call.grant, id, error);
          return error.with({ request_id: id });
        }
        const refused = error.code === 'invalid_request' ? tooLargeToBuffer(undefined, bufferMaxBytes) : error;
        if (id !== undefined) findFor(context, call, id).fail(refused);
        return refused;
      },
    });
  } finally {
    context.budget.release(reserved);
  }
}
