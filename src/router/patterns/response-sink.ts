import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Coding } from '../../http/content-coding.ts';
import { HEADER } from '../../protocol/headers.ts';
import { RelayError } from '../../protocol/errors.ts';
import { answerHead, codedHeaders, type DatasetFacts, readEnd, readFacts, type Wanted } from '../dataset-answer.ts';
import type { RequestRecord } from '../request-log.ts';
import type { Completion, Sink, TransferMeta } from '../sink.ts';
import { fitPart } from './part.ts';
import { isHttp10, type ResponseBody } from './response-body.ts';

/** What of a dataset is wanted, and how it is answered. */
export interface StreamOptions extends Wanted {
  /** Bring the SHA-256 of the whole, where the connector can. */
  readonly wantDigest?: boolean;
  /** The app takes the content coded like this. */
  readonly coding?: Coding | undefined;
  /** Tell the length and leave out the trailer with the digest. */
  readonly preferLength?: boolean;
  /** It may be answered by pattern A as well, where the dataset or its node is better served so. Default false. */
  readonly mayBuffer?: boolean;
}

/** The app's response, which never looks whole before it is: its last byte, or its last chunk, waits for the end. */
export class ResponseSink implements Sink {
  readonly #request: IncomingMessage;
  readonly #response: ServerResponse;
  readonly #body: ResponseBody;
  readonly #record: RequestRecord;
  readonly #options: StreamOptions;
  #status = 200;
  #headers: Record<string, string | number> | undefined;
  /** Bytes still to be written when the length was declared; undefined in a chunked response. */
  #left: number | undefined;
  #held: Buffer | undefined;
  readonly #coding: Coding | undefined;
  #isCoded = false;
  #trailer = false;
  /** The connector was asked for a digest, and will give it at the end. */
  expectDigest = false;
  /** The app was answered without the dataset. */
  isAnswered = false;
  known: DatasetFacts = {};
  onBegin: () => void = () => {};
  onEnd: () => void = () => {};
  /** Told of each piece that came. */
  onBytes: (count: number) => void = () => {};

  constructor(
    request: IncomingMessage,
    response: ServerResponse,
    body: ResponseBody,
    record: RequestRecord,
    options: StreamOptions,
  ) {
    this.#request = request;
    this.#response = response;
    this.#body = body;
    this.#record = record;
    this.#options = options;
    // A coded representation cannot be asked for in parts, nor by those who cannot take a body without its length.
    this.#coding = options.part === undefined && !isHttp10(request) ? options.coding : undefined;
  }

  begin(meta: TransferMeta): void {
    const { totalSize, digest } = meta;
    const http10 = isHttp10(this.#request);
    if (http10 && totalSize === undefined) {
      throw new RelayError(
        'http_version_not_supported',
        'the length of this dataset is not known beforehand, so it needs HTTP/1.1',
      );
    }
    const facts = readFacts(meta);
    const { part, admit, headers: more } = this.#options;
    if (admit?.(facts) === false) {
      this.isAnswered = true;
      throw new RelayError('cancelled', 'the app needs nothing of it');
    }
    const range = fitPart(part, totalSize);
    this.known = facts;
    const isDigestLate = this.expectDigest && digest === undefined;
    const leavesOut = isDigestLate && this.#options.preferLength === true && totalSize !== undefined;
    this.#trailer = isDigestLate && !http10 && !leavesOut;
    if (!this.#trailer) this.#left = range?.length ?? totalSize;
    const { status, headers } = answerHead(this.#record, facts, {
      contentType: meta.contentType,
      range,
      headers: more,
    });
    this.#status = status;
    this.#headers = {
      ...headers,
      ...(this.#left !== undefined && { 'Content-Length': this.#left }),
      ...(this.#trailer && { Trailer: HEADER.reprDigest }),
      ...(leavesOut && { 'Preference-Applied': 'length' }),
    };
    this.onBegin();
  }

  write(bytes: Buffer): boolean {
    this.onBytes(bytes.length);
    if (this.#headers !== undefined) this.#decideCoding(bytes);
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
    return this.#body.write(now);
  }

  drained(): Promise<void> {
    return this.#body.drained();
  }

  end(completion: Completion): void {
    const { digest } = completion;
    Object.assign(this.known, readEnd(completion));
    this.#sendHead();
    const field = this.#isCoded ? HEADER.unencodedDigest : HEADER.reprDigest;
    if (this.#trailer && digest !== undefined) this.#response.addTrailers({ [field]: digest });
    this.#body.end(this.#held);
    this.onEnd();
  }

  /** Whether the dataset goes coded, which its first bytes tell. */
  #decideCoding(beginning: Buffer): void {
    const coding = this.#coding;
    if (coding === undefined || !this.#body.isWorthCoding(coding, beginning)) return;
    this.#body.encode(coding);
    this.#isCoded = true;
    this.#left = undefined;
    this.#headers = codedHeaders(this.#headers ?? {}, coding);
  }

  #sendHead(): void {
    if (this.#headers === undefined) return;
    this.#response.writeHead(this.#status, this.#headers);
    this.#headers = undefined;
  }
}
