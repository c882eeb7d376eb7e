import type { IncomingMessage, ServerResponse } from 'node:http';
import { freePiece } from '../../http/free-piece.ts';
import { type ByteRange, formatContentRange } from '../../http/range.ts';
import { HEADER } from '../../protocol/headers.ts';
import type { DatasetName } from '../../protocol/dataset-name.ts';
import { RelayError } from '../../protocol/errors.ts';
import type { Context } from '../context.ts';
import { type DatasetFacts, datasetHeaders, readFacts } from '../dataset-answer.ts';
import { sendError } from '../reply.ts';
import { acceptEncoding } from './accept-encoding.ts';
import type { RequestRecord } from '../request-log.ts';
import { type Part, type Sink, Transfer, type TransferMeta } from '../transfer.ts';

/** What of a dataset is wanted, and how it is answered. */
export interface StreamOptions {
  /** Bring the SHA-256 of the whole, where the connector can. */
  readonly wantDigest?: boolean;
  /** A part, which is answered with 206; without it the whole with 200. Only for a connector that said `range`. */
  readonly part?: Part | undefined;
  /** The entity tag that the dataset must have. */
  readonly ifMatch?: string | undefined;
  /** Headers of the answer beside those that the dataset brings. */
  readonly headers?: Readonly<Record<string, string>>;
}

/**
 * Pattern B: the app's response carries the bytes while the connector sends them. The app's socket sets the pace, back
 * through the router to the connector's disk. A connector that breaks off and comes back goes on where it was.
 */
export function stream(
  context: Context,
  record: RequestRecord,
  request: IncomingMessage,
  response: ServerResponse,
  options: StreamOptions = {},
): void {
  const { wantDigest = false, part, ifMatch } = options;
  const sink = new ResponseSink(request, response, record.dataset, options);
  const transfer = new Transfer(sink, part);
  record.progress = () => ({ bytesDone: transfer.bytesDone, ...sink.known });
  const exchange = context.dispatcher.submit({
    id: record.id,
    mac: record.mac,
    name: 'get_dataset_stream',
    command: ({ hello }) => {
      if (!transfer.isBegun) sink.expectDigest = wantDigest && part === undefined && hello.capabilities.has('digest');
      return {
        command: 'get_dataset_stream',
        request_id: record.id,
        dataset_name: record.dataset,
        ...selectPart(part, transfer.resumption, ifMatch),
        ...(sink.expectDigest && { want_digest: true }),
        ...acceptEncoding(hello),
        ...(hello.capabilities.has('parallel') && { window_end: transfer.openWindow(context.windowBudget) }),
      };
    },
    resend: 'with-offset',
    beginTimeoutMs: () => context.options.firstByteTimeoutMs,
    silenceTimeoutMs: () => context.options.silenceTimeoutMs,
    answer: {
      transfer,
      fail: (error) => {
        record.fail(error);
        transfer.abort(error);
        sendError(request, response, error);
      },
    },
  });
  transfer.attach(exchange);
  record.onAbort((error) => exchange.fail(error));
  sink.onBegin = () => record.run();
  sink.onEnd = () => record.succeed();
}

/** The part that a command asks for: what was wanted, or what is missing of it. */
function selectPart(
  part: Part | undefined,
  resumption: Transfer['resumption'],
  ifMatch: string | undefined,
): { offset?: number; length?: number; if_match?: string } {
  const { offset = 0, length } = part ?? {};
  const from = resumption?.offset ?? offset;
  const tag = resumption?.etag ?? ifMatch;
  return {
    ...((part !== undefined || from > 0) && { offset: from }),
    ...(length !== undefined && { length: length - (from - offset) }),
    ...(tag !== undefined && { if_match: tag }),
  };
}

/** The app's response, which never looks whole before it is: its last byte, or its last chunk, waits for the end. */
class ResponseSink implements Sink {
  readonly #request: IncomingMessage;
  readonly #response: ServerResponse;
  readonly #dataset: DatasetName;
  readonly #options: StreamOptions;
  #status = 200;
  #headers: Record<string, string | number> | undefined;
  /** Bytes still to be written when the length was declared; undefined in a chunked response. */
  #left: number | undefined;
  #held: Buffer | undefined;
  /** Bodies that wait for the app to read: a resent chunk may wait beside the one that it repeats. */
  readonly #waiting: (() => void)[] = [];
  #trailer = false;
  /** The connector was asked for a digest, and will give it at the end. */
  expectDigest = false;
  known: DatasetFacts = {};
  onBegin: () => void = () => {};
  onEnd: () => void = () => {};

  constructor(request: IncomingMessage, response: ServerResponse, dataset: DatasetName, options: StreamOptions) {
    this.#request = request;
    this.#response = response;
    this.#dataset = dataset;
    this.#options = options;
    const wakeUp = (): void => {
      for (const resume of this.#waiting.splice(0)) resume();
    };
    response.on('drain', wakeUp);
    response.on('close', wakeUp);
  }

  begin(meta: TransferMeta): void {
    const { totalSize, digest } = meta;
    const http10 = this.#request.httpVersionMinor === 0 && this.#request.httpVersionMajor === 1;
    if (http10 && totalSize === undefined) {
      throw new RelayError(
        'http_version_not_supported',
        'the length of this dataset is not known beforehand, so it needs HTTP/1.1',
      );
    }
    const range = this.#readRange(totalSize);
    this.known = readFacts(meta);
    this.#trailer = this.expectDigest && digest === undefined && !http10;
    if (!this.#trailer) this.#left = range?.length ?? totalSize;
    this.#headers = {
      ...datasetHeaders(this.#dataset, this.known, meta.contentType),
      ...this.#options.headers,
      ...(this.#left !== undefined && { 'Content-Length': this.#left }),
      ...(range !== undefined && { 'Content-Range': formatContentRange(range, totalSize as number) }),
      ...(this.#trailer && { Trailer: HEADER.reprDigest }),
    };
    if (range !== undefined) this.#status = 206;
    this.onBegin();
  }

  /** The part within a dataset of this size. @throws {RelayError} range_not_satisfiable when it begins at its end or beyond. */
  #readRange(totalSize: number | undefined): ByteRange | undefined {
    const { part } = this.#options;
    if (part === undefined) return undefined;
    if (totalSize === undefined)
      throw new RelayError('connector_failed', 'the connector sends a part and does not say of how much');
    const { offset, length = Infinity } = part;
    if (offset >= totalSize) {
      throw new RelayError('range_not_satisfiable', `the dataset has ${totalSize} bytes`, {
        details: { size: totalSize },
      });
    }
    return { offset, length: Math.min(length, totalSize - offset) };
  }

  write(bytes: Buffer): boolean {
    let now = bytes;
    if (this.#left !== undefined) {
      this.#left -= bytes.length;
      if (this.#left === 0) {
        now = bytes.subarray(0, -1);
        // A copy, so that one byte does not keep a whole network buffer.
        this.#held = Buffer.from(bytes.subarray(-1));
      }
    }
    if (now.length === 0) return true;
    this.#sendHead();
    return this.#response.write(now, () => freePiece(now));
  }

  async drained(): Promise<void> {
    if (this.#response.destroyed || !this.#response.writableNeedDrain) return;
    await new Promise<void>((resolve) => {
      this.#waiting.push(resolve);
    });
  }

  end(digest: string | undefined): void {
    if (digest !== undefined) this.known.digest = digest;
    this.#sendHead();
    if (this.#trailer && digest !== undefined) this.#response.addTrailers({ [HEADER.reprDigest]: digest });
    this.#response.end(this.#held);
    this.onEnd();
  }

  #sendHead(): void {
    if (this.#headers === undefined) return;
    this.#response.writeHead(this.#status, this.#headers);
    this.#headers = undefined;
  }
}
