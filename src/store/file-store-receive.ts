import type { FileHandle } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import type { Readable } from 'node:stream';
import { decodeBody, readCoding, toBodyError } from '../http/coder.ts';
import { freePiece } from '../http/free-piece.ts';
import { RelayError } from '../protocol/errors.ts';
import { HEADER } from '../protocol/headers.ts';
import type { Reservation } from './file-store-space.ts';

const KIB = 1024;
/** Bytes that are gathered before they are written: one large write costs far less than many of a socket's 64 KiB. */
const WRITE_BYTES = 512 * KIB;
/** Bytes waiting to be written at which the sender is held back. */
const HIGH_WATER_BYTES = 1024 * KIB;
/** Most pieces in one write (IOV_MAX of Linux). */
const MAX_PIECES = 1024;

interface ReceiveOptions {
  readonly file: FileHandle;
  /** Where in the file the first byte goes. */
  readonly position: number;
  /** Most bytes that are taken, before any coding. */
  readonly limit: number;
  readonly reservation: Reservation;
  /** Ends it early. */
  readonly signal: AbortSignal;
  readonly onBytes: (count: number) => void;
}

/**
 * Writes the body of a request into a file, decoded where it is coded, holding the sender back when the disk is slower.
 * Settles only when no write is under way any more, so that the file may be closed or written by another.
 * @returns the length of the body before any coding, which arrived whole.
 * @throws {RelayError} transfer_interrupted when it breaks off; invalid_request above `limit`, and where it cannot be decoded
 * or is not as long as it says; store_full, store_unavailable.
 */
export async function receiveBody(request: IncomingMessage, options: ReceiveOptions): Promise<number> {
  const declared = readDeclaredLength(request);
  const { signal } = options;
  if (request.destroyed || signal.aborted) throw signal.aborted ? signal.reason : interrupted();
  // What is coded may come to anything: it is taken at its word, and no further.
  const limit = Math.min(options.limit, declared ?? Infinity);
  const length = await new Receiver(request, { ...options, limit }).run();
  if (declared === undefined || length === declared) return length;
  throw new RelayError('invalid_request', `the body has ${length} bytes in place of the ${declared} that it names`);
}

/**
 * The length of a body before any coding, as its head says; undefined when it is chunked and plain.
 * @throws {RelayError} invalid_request for a coding that is not understood, and for a coded body that does not say it.
 */
export function readDeclaredLength(request: IncomingMessage): number | undefined {
  if (readCoding(request) !== undefined) return readPlainLength(request);
  const field = request.headers['content-length'];
  if (field !== undefined) return Number(field);
  // Without either field a request has no body (RFC 9112 §6.3).
  return request.headers['transfer-encoding'] === undefined ? 0 : undefined;
}

function readPlainLength({ headers }: IncomingMessage): number {
  const field = headers[HEADER.plainLength.toLowerCase()];
  const length = typeof field === 'string' && /^\d{1,16}$/.test(field) ? Number(field) : NaN;
  if (Number.isSafeInteger(length)) return length;
  throw new RelayError('invalid_request', `a coded body needs ${HEADER.plainLength}: its length before the coding`);
}

class Receiver {
  readonly #request: IncomingMessage;
  /** The body, decoded where it is coded. */
  readonly #source: Readable;
  readonly #options: ReceiveOptions;
  #pieces: Buffer[] = [];
  #waiting = 0;
  #received = 0;
  #written = 0;
  #ended = false;
  #writing = false;
  #failure: unknown;
  #failed = false;
  #settle: (() => void) | undefined;

  constructor(request: IncomingMessage, options: ReceiveOptions) {
    this.#request = request;
    this.#source = decodeBody(request);
    this.#options = options;
  }

  async run(): Promise<number> {
    const source = this.#source;
    const { signal } = this.#options;
    const onData = (piece: Buffer) => this.#take(piece);
    const onEnd = () => {
      this.#ended = true;
      void this.#write();
    };
    const onClose = () => {
      if (!this.#ended) this.#fail(interrupted());
    };
    const onError = (cause: unknown) => this.#fail(toBodyError(cause));
    const onAbort = () => this.#fail(signal.reason);
    const settled = new Promise<void>((resolve) => {
      this.#settle = resolve;
    });
    source.on('data', onData).once('end', onEnd).once('close', onClose).once('error', onError);
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      await settled;
    } finally {
      source.off('data', onData).off('end', onEnd).off('close', onClose).off('error', onError);
      this.#letGo();
      signal.removeEventListener('abort', onAbort);
    }
    if (this.#failed) throw this.#failure;
    return this.#written;
  }

  /** A decoder takes nothing more in; what the sender still says is for the handler to deal with. */
  #letGo(): void {
    if (this.#source === this.#request) return;
    this.#source.on('error', () => {});
    this.#source.destroy();
  }

  #take(piece: Buffer): void {
    if (this.#failed) return;
    this.#received += piece.length;
    if (this.#received > this.#options.limit) {
      this.#fail(new RelayError('invalid_request', `the body has more than ${this.#options.limit} bytes`));
      return;
    }
    this.#pieces.push(piece);
    this.#waiting += piece.length;
    this.#options.onBytes(piece.length);
    if (this.#waiting >= HIGH_WATER_BYTES) this.#source.pause();
    if (!this.#writing && this.#isWorthWriting()) void this.#write();
  }

  #isWorthWriting(): boolean {
    return this.#waiting >= WRITE_BYTES || this.#pieces.length >= MAX_PIECES || this.#ended;
  }

  async #write(): Promise<void> {
    if (this.#writing) return;
    this.#writing = true;
    try {
      while (this.#waiting > 0 && this.#isWorthWriting() && !this.#failed) await this.#writeOnce();
    } catch (error) {
      this.#fail(error);
    }
    this.#writing = false;
    if (this.#failed || this.#ended) this.#settle?.();
  }

  async #writeOnce(): Promise<void> {
    const { file, position, reservation } = this.#options;
    const pieces = this.#pieces.splice(0, MAX_PIECES);
    const length = pieces.reduce((sum, piece) => sum + piece.length, 0);
    const missing = this.#written + length - reservation.bytes;
    if (missing > 0) await reservation.grow(missing);
    await writeAll(file, pieces, length, position + this.#written);
    for (const piece of pieces) freePiece(piece);
    reservation.wrote(length);
    this.#written += length;
    this.#waiting -= length;
    if (this.#waiting < HIGH_WATER_BYTES && this.#source.isPaused()) this.#source.resume();
  }

  #fail(error: unknown): void {
    if (this.#failed) return;
    this.#failed = true;
    this.#failure = error;
    this.#pieces = [];
    if (!this.#writing) this.#settle?.();
  }
}

async function writeAll(file: FileHandle, pieces: Buffer[], length: number, position: number): Promise<void> {
  const { bytesWritten } = await file.writev(pieces, position);
  if (bytesWritten === length) return;
  // A short write is rare (a signal, a nearly full disk): what is left goes on in one piece, or says why it cannot.
  const rest = Buffer.concat(pieces).subarray(bytesWritten);
  for (let done = 0; done < rest.length; ) {
    const step = await file.write(rest, done, rest.length - done, position + bytesWritten + done);
    done += step.bytesWritten;
  }
}

const interrupted = (): RelayError => new RelayError('transfer_interrupted', 'the body broke off');
