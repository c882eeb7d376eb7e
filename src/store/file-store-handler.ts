import type { IncomingMessage, ServerResponse } from 'node:http';
import { closeAfterEarlyAnswer, resetConnection } from '../http/connection.ts';
import { allowsRange, evaluatePreconditions } from '../http/conditions.ts';
import { renderProblem } from '../http/problem.ts';
import { type ByteRange, formatContentRange, parseContentRange, parseRange } from '../http/range.ts';
import type { Pace } from '../http/pace.ts';
import { RelayError } from '../protocol/errors.ts';
import type { Logger } from '../observability/logger.ts';
import { formatAttachment } from '../http/content-disposition.ts';
import { fromFileError } from './file-store-errors.ts';
import type { OpenObject } from './file-store-objects.ts';
import { sendFile } from './file-store-send.ts';
import { type SignedParts, verifySignature } from './file-store-signature.ts';
import type { PiecePlace } from './file-store-upload.ts';
import { isObjectKey } from './object-key.ts';

/** What the handler needs of the store. */
export interface FileStoreAccess {
  readonly signingKey: Buffer;
  readonly logger: Logger;
  now(): Date;
  putObject(key: string, request: IncomingMessage): Promise<string>;
  /** @returns the part's entity tag; undefined while pieces of it are missing. */
  putPart(
    uploadId: string,
    partNumber: number,
    request: IncomingMessage,
    place: PiecePlace | undefined,
  ): Promise<string | undefined>;
  openObject(key: string): Promise<OpenObject>;
  /** Says that somebody reads the object. */
  noteRead(key: string): void;
  /** Registers a transfer that closing the store ends. @returns what takes it off again. */
  track(cut: () => void): () => void;
}

/** Where a path of the store leads. */
export const objectPath = (key: string): string => `/store/objects/${key}`;
export const partPath = (uploadId: string, partNumber: number): string => `/store/uploads/${uploadId}/${partNumber}`;

const OBJECT = /^\/store\/objects\/([^?]+)$/;
const PART = /^\/store\/uploads\/([A-Za-z0-9_-]{1,64})\/([1-9]\d{0,4})$/;

const COMMON_HEADERS = {
  'Cache-Control': 'private, no-store',
  'Content-Security-Policy': 'sandbox',
  'X-Content-Type-Options': 'nosniff',
};

/** Headers that speak of an object, and so not of a refusal. */
const OBJECT_HEADERS = ['ETag', 'Last-Modified', 'Accept-Ranges', 'Content-Disposition'];

/** What is known of a request to the store beside what it says. */
export interface AboutStoreRequest {
  /** At which an object may be sent; by default as fast as it goes. */
  readonly pace?: Pace | undefined;
  /** Its id, which is said where it fails. */
  readonly requestId?: string | undefined;
}

/** One request under `/store/`. */
interface StoreRequest extends AboutStoreRequest {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** The target from `/store/` on. */
  readonly pathAndQuery: string;
}

/** Answers one request under `/store/`, whatever comes; never rejects. */
export async function handleStoreRequest(store: FileStoreAccess, asked: StoreRequest): Promise<void> {
  const { request, response, requestId } = asked;
  try {
    await route(store, asked);
  } catch (thrown) {
    const cause = fromFileError(thrown);
    const error = requestId === undefined ? cause : cause.with({ request_id: requestId });
    const facts = { request_id: requestId };
    if (error.code === 'internal') store.logger.error({ err: thrown, ...facts }, 'the file store failed');
    else if (error.status >= 500) store.logger.warn({ err: cause, ...facts }, 'a request to the file store failed');
    if (error.code === 'transfer_interrupted' || response.headersSent) resetConnection(request.socket);
    else refuse(request, response, error);
  }
}

async function route(store: FileStoreAccess, asked: StoreRequest): Promise<void> {
  const { request, response, pathAndQuery } = asked;
  const end = pathAndQuery.indexOf('?');
  const path = end < 0 ? pathAndQuery : pathAndQuery.slice(0, end);
  const query = new URLSearchParams(end < 0 ? '' : pathAndQuery.slice(end));
  const key = OBJECT.exec(path)?.[1];
  const part = PART.exec(path);
  const allowed = part === null ? ['GET', 'HEAD', 'PUT', 'OPTIONS'] : ['PUT', 'OPTIONS'];
  if (request.method === 'OPTIONS') {
    response.writeHead(204, { Allow: allowed.join(', ') }).end();
    return undefined;
  }
  const method = checkMethod(request, response, allowed);
  const filename = verifySignature(store.signingKey, { method, path }, query, store.now());
  if (part !== null) return takePart(store, request, response, String(part[1]), Number(part[2]));
  if (key === undefined || !isObjectKey(key)) throw new RelayError('not_found', 'there is no such object in the store');
  if (method === 'PUT') return takeObject(store, request, response, key);
  return giveObject(store, asked, key, filename);
}

function checkMethod(request: IncomingMessage, response: ServerResponse, allowed: string[]): SignedParts['method'] {
  if (!allowed.includes(request.method ?? '')) {
    response.setHeader('Allow', allowed.join(', '));
    throw new RelayError('method_not_allowed');
  }
  return request.method === 'PUT' ? 'PUT' : 'GET';
}

async function takeObject(store: FileStoreAccess, request: IncomingMessage, response: ServerResponse, key: string) {
  // A piece of an object must not be taken for the whole (RFC 9110 §14.5).
  if (request.headers['content-range'] !== undefined)
    throw new RelayError('invalid_request', 'content-range is not taken here');
  answerPut(response, await store.putObject(key, request));
}

async function takePart(
  store: FileStoreAccess,
  request: IncomingMessage,
  response: ServerResponse,
  uploadId: string,
  partNumber: number,
) {
  answerPut(response, await store.putPart(uploadId, partNumber, request, readPlace(request)));
}

/** Where in its part a body goes, before any coding; undefined for the whole part. */
function readPlace({ headers }: IncomingMessage): PiecePlace | undefined {
  const field = headers['content-range'];
  if (field === undefined) return undefined;
  const range = parseContentRange(field);
  if (range === undefined) throw new RelayError('invalid_request', 'content-range is not bytes FIRST-LAST/SIZE');
  return range;
}

/** Says that a body was taken: 200 and the tag of what it completes, 202 while more is to come. */
function answerPut(response: ServerResponse, etag: string | undefined): void {
  response.writeHead(etag === undefined ? 202 : 200, {
    ...COMMON_HEADERS,
    ...(etag !== undefined && { ETag: etag }),
    'Content-Length': 0,
  });
  response.end();
}

async function giveObject(
  store: FileStoreAccess,
  { request, response, pace }: StoreRequest,
  key: string,
  filename: string | undefined,
): Promise<void> {
  const object = await store.openObject(key);
  const untrack = store.track(() => resetConnection(request.socket));
  try {
    store.noteRead(key);
    const range = selectPart(request, response, object);
    if (range === undefined) return;
    response.setHeader('Content-Type', 'application/octet-stream');
    response.setHeader('Content-Length', range.length);
    response.setHeader('Content-Disposition', formatAttachment(filename ?? ''));
    if (request.method !== 'HEAD') await sendFile(object.file, response, range, pace?.open());
    response.end();
    store.noteRead(key);
  } finally {
    untrack();
    await object.close();
  }
}

/** Evaluates the conditions and the range of a request (RFC 9110 §13.2.2). @returns undefined when it has answered already. */
function selectPart(request: IncomingMessage, response: ServerResponse, object: OpenObject): ByteRange | undefined {
  const { headers } = request;
  const lastModified = new Date(Math.floor(object.modifiedAt.getTime() / 1000) * 1000);
  setCommonHeaders(response);
  response.setHeader('ETag', object.etag);
  response.setHeader('Last-Modified', lastModified.toUTCString());
  response.setHeader('Accept-Ranges', 'bytes');
  // No object is ever written again.
  const validators = { etag: object.etag, lastModified, isImmutable: true };
  const verdict = evaluatePreconditions(headers, validators);
  if (verdict === 'precondition_failed')
    throw new RelayError('precondition_failed', 'the object is another one than the request names');
  if (verdict === 'not_modified') {
    response.writeHead(304).end();
    return undefined;
  }
  const whole = { offset: 0, length: object.size };
  if (request.method !== 'GET' || !allowsRange(headers['if-range'], validators)) return whole;
  const range = parseRange(headers.range, object.size);
  if (range === 'unsatisfiable') {
    response.setHeader('Content-Range', `bytes */${object.size}`);
    throw new RelayError('range_not_satisfiable', `the object has ${object.size} bytes`, {
      details: { size: object.size },
    });
  }
  if (range === undefined) return whole;
  response.statusCode = 206;
  response.setHeader('Content-Range', formatContentRange(range, object.size));
  return range;
}

/** Refuses a request whose body may still be arriving. */
function refuse(request: IncomingMessage, response: ServerResponse, error: RelayError): void {
  const { type, text } = renderProblem(error, request.headers.accept);
  for (const name of OBJECT_HEADERS) response.removeHeader(name);
  if (error.code !== 'range_not_satisfiable') response.removeHeader('Content-Range');
  setCommonHeaders(response);
  response.writeHead(error.status, {
    'Content-Type': type,
    'Content-Length': Buffer.byteLength(text),
    Vary: 'Accept',
  });
  response.end(text);
  if (!request.complete) closeAfterEarlyAnswer(request);
}

function setCommonHeaders(response: ServerResponse): void {
  for (const [name, value] of Object.entries(COMMON_HEADERS)) response.setHeader(name, value);
}
