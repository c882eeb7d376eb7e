import { randomBytes } from 'node:crypto';
import { type FileHandle, open, unlink } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import type { UploadedPart } from '../protocol/answers.ts';
import { RelayError } from '../protocol/errors.ts';
import { isMissing } from './file-store-errors.ts';
import { readDeclaredLength, receiveBody } from './file-store-receive.ts';
import type { Reservation, StoreSpace } from './file-store-space.ts';

interface ArrivedPart {
  readonly etag: string;
  readonly size: number;
  readonly reservation: Reservation;
}

/** A body that is arriving, and how to stop it. */
interface Arrival {
  readonly controller: AbortController;
  readonly ended: Promise<void>;
}

interface PartedUploadOptions {
  readonly id: string;
  readonly key: string;
  readonly partSize: number;
  readonly path: string;
  readonly file: FileHandle;
  readonly startedAt: Date;
  readonly space: StoreSpace;
  readonly onBytes: (count: number) => void;
}

/** An upload in parts. They all go into one file, each to its own place, so that nothing is copied in the end. */
export class PartedUpload {
  readonly id: string;
  readonly key: string;
  readonly startedAt: Date;
  readonly path: string;
  readonly #options: PartedUploadOptions;
  readonly #arrived = new Map<number, ArrivedPart>();
  readonly #arriving = new Map<number, Arrival>();
  /** Set while the object is being made and after an end: no part is taken then. */
  #closed = false;

  constructor(options: PartedUploadOptions) {
    this.#options = options;
    this.id = options.id;
    this.key = options.key;
    this.startedAt = options.startedAt;
    this.path = options.path;
  }

  /** Begins an upload with an empty file. */
  static async create(options: Omit<PartedUploadOptions, 'file'>): Promise<PartedUpload> {
    return new PartedUpload({ ...options, file: await open(options.path, 'wx+', 0o600) });
  }

  /**
   * Takes one part. It counts once it has arrived whole; from the beginning of a newer PUT of the same part, which also
   * cuts the older one, only that one can.
   * @returns the part's entity tag.
   */
  async put(partNumber: number, request: IncomingMessage): Promise<string> {
    if (this.#closed) throw noSuchUpload();
    const declared = readDeclaredLength(request);
    if (declared !== undefined && declared > this.#options.partSize) throw this.#tooLong();
    const older = this.#arriving.get(partNumber);
    const { promise: ended, resolve: end } = Promise.withResolvers<void>();
    const arrival: Arrival = { controller: new AbortController(), ended };
    this.#arriving.set(partNumber, arrival);
    try {
      older?.controller.abort(new RelayError('transfer_interrupted', 'a newer PUT of the same part takes its place'));
      await older?.ended;
      return await this.#receive(partNumber, request, declared, arrival.controller.signal);
    } finally {
      if (this.#arriving.get(partNumber) === arrival) this.#arriving.delete(partNumber);
      end();
    }
  }

  /**
   * Checks the parts against what has arrived and cuts the file to their length. After it the upload takes no more parts.
   * @returns the file, open.
   * @throws {RelayError} invalid_request when a part is missing, out of order, of another PUT or of a wrong size; the upload goes on then.
   */
  async seal(parts: readonly UploadedPart[]): Promise<FileHandle> {
    if (this.#closed) throw noSuchUpload();
    const size = this.#check(parts);
    this.#closed = true;
    await this.#stopArrivals();
    await this.#options.file.truncate(size);
    for (const [partNumber, part] of this.#arrived) {
      if (partNumber > parts.length) part.reservation.release();
    }
    return this.#options.file;
  }

  /** Takes no more parts, and frees what there is. */
  async abort(): Promise<void> {
    this.#closed = true;
    await this.#stopArrivals();
    // A second closing is no error, and neither is a file that somebody has removed.
    await this.#options.file.close().catch(() => undefined);
    await unlink(this.path).catch((error: unknown) => {
      if (!isMissing(error)) throw error;
    });
    for (const part of this.#arrived.values()) part.reservation.release();
    this.#arrived.clear();
  }

  async #receive(
    partNumber: number,
    request: IncomingMessage,
    declared: number | undefined,
    signal: AbortSignal,
  ): Promise<string> {
    signal.throwIfAborted();
    const { partSize, file, space, onBytes } = this.#options;
    this.#arrived.get(partNumber)?.reservation.release();
    this.#arrived.delete(partNumber);
    const reservation = await space.reserve(declared ?? 0);
    try {
      const position = (partNumber - 1) * partSize;
      const size = await receiveBody(request, { file, position, limit: partSize, reservation, signal, onBytes });
      reservation.trim();
      const etag = `"${randomBytes(16).toString('hex')}"`;
      this.#arrived.set(partNumber, { etag, size, reservation });
      return etag;
    } catch (error) {
      reservation.release();
      throw error;
    }
  }

  #check(parts: readonly UploadedPart[]): number {
    if (parts.length === 0) throw invalidParts('no part is named');
    let total = 0;
    for (const [index, { part_number: partNumber, etag }] of parts.entries()) {
      if (partNumber !== index + 1) throw invalidParts(`part ${index + 1} is missing or out of order`);
      const part = this.#arrived.get(partNumber);
      if (part === undefined) throw invalidParts(`part ${partNumber} has not arrived`);
      if (part.etag !== etag) throw invalidParts(`part ${partNumber} has another ETag`);
      const isLast = partNumber === parts.length;
      if (!isLast && part.size !== this.#options.partSize) {
        throw invalidParts(`part ${partNumber} has ${part.size} bytes in place of ${this.#options.partSize}`);
      }
      total += part.size;
    }
    return total;
  }

  async #stopArrivals(): Promise<void> {
    const arrivals = [...this.#arriving.values()];
    for (const { controller } of arrivals) controller.abort(noSuchUpload());
    await Promise.all(arrivals.map(({ ended }) => ended));
  }

  #tooLong(): RelayError {
    const limit = this.#options.partSize;
    return new RelayError('invalid_request', `a part of this upload has at most ${limit} bytes`, {
      details: { limit },
    });
  }
}

/** The answer to parts of an upload that was completed or aborted, or never was. */
export const noSuchUpload = (): RelayError => new RelayError('not_found', 'there is no such upload in the store');

const invalidParts = (problem: string): RelayError =>
  new RelayError('invalid_request', `the upload cannot be completed: ${problem}`);
