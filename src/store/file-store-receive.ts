import type { FileHandle } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { freePiece } from '../http/free-piece.ts';
import { RelayError } from '../protocol/errors.ts';
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
  /** Most bytes that are taken. */
  readonly limit: number;
  readonly reservation: Reservation;
  /** Ends it early. */
  readonly signal: AbortSignal;
  readonly onBytes: (count: number) => void;
}

/**
 * Writes the body of a request into a file, holding the sender back when the disk is slower. Settles only when no write is
 * under way any more, so that the file may be closed or written by another.
 * @returns the length of the body, which arrived whole.
 * @throws {RelayError} transfer_interrupted when it breaks off; invalid_request above `limit`; store_full, store_unavailable.
 */
export function receiveBody(request: IncomingMessage, options: ReceiveOptions): Promise<number> {
  return new Receiver(request, options).run();
}

/** The declared length of a body; undefined when it is chunked. */
export function readDeclaredLength(request: IncomingMessage): number | undefined {
  const field = request.headers['content-length'];
  if (field !== undefined) return Number(field);
  // Without either field a request has no body (RFC 9112 §6.3).
  return request.headers['transfer-encoding'] === undefined ? 0 : undefined;
}

class Receiver {
  readonly #request: IncomingMessage;
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
    this.#options = options;
  }

  async run(): Promise<number> {
    const request = this.#request;
    const { signal } = this.#options;
    if (request.destroyed || signal.aborted) throw signal.aborted ? signal.reason : interrupted();
    const onData = (piece: Buffer) => this.#take(piece);
    const onEnd = () => {
      this.#ended = true;
      void this.#write();
    };
    const onClose = () => {
      if (!this.#ended) this.#fail(interrupted());
    };
    const onAbort = () => this.#fail(signal.reason);
    const settled = new Promise<void>((resolve) => {
      this.#settle = resolve;
    });
    request.on('data', onData).once('end', onEnd).once('close', onClose).once('error', onClose);
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      await settled;
    } finally {
      request.off('data', onData).off('end', onEnd).off('close', onClose).off('error', onClose);
      signal.removeEventListener('abort', onAbort);
    }
    if (this.#failed) throw this.#failure;
    return this.#written;
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
    if (this.#waiting >= HIGH_WATER_BYTES) this.#request.pause();
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
    if (this.#waiting < HIGH_WATER_BYTES && this.#request.isPaused()) this.#request.resume();
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
