import { randomBytes } from 'node:crypto';
import { type FileHandle, open, unlink } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import type { StoredPart, UploadedPart } from '../protocol/answers.ts';
import { RelayError } from '../protocol/errors.ts';
import { isMissing } from './file-store-errors.ts';
import { readDeclaredLength, receiveBody } from './file-store-receive.ts';
import type { Reservation, StoreSpace } from './file-store-space.ts';
import { type KnownPart, UploadJournal } from './upload-journal.ts';

/** Where in its part a piece goes, and how long the part is, in bytes. */
export interface PiecePlace {
  readonly offset: number;
  readonly length: number;
  readonly size: number;
}

/** What has arrived of a part, from its first byte on. */
interface Part {
  readonly reservation: Reservation;
  size: number;
  /** Once it is whole. */
  etag: string | undefined;
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
  readonly journal: UploadJournal;
  readonly startedAt: Date;
  readonly space: StoreSpace;
  readonly onBytes: (key: string, count: number) => void;
}

/** An upload in parts. They all go into one file, each to its own place, so that nothing is copied in the end. */
export class PartedUpload {
  readonly id: string;
  readonly key: string;
  readonly startedAt: Date;
  readonly path: string;
  readonly #options: PartedUploadOptions;
  readonly #parts = new Map<number, Part>();
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
  static async create(options: Omit<PartedUploadOptions, 'file' | 'journal'>): Promise<PartedUpload> {
    const file = await open(options.path, 'wx+', 0o600);
    try {
      return new PartedUpload({ ...options, file, journal: await UploadJournal.create(options.path, options) });
    } catch (error) {
      await file.close();
      await removeFile(options.path);
      throw error;
    }
  }

  /** Takes up an upload of a former process, with the parts that it has as a whole. @returns undefined where that cannot be. */
  static async restore(
    options: Omit<PartedUploadOptions, 'file' | 'journal' | 'key' | 'partSize' | 'startedAt'>,
  ): Promise<PartedUpload | undefined> {
    const found = await UploadJournal.open(options.path);
    if (found === undefined) return undefined;
    const { journal, header, parts } = found;
    let file: FileHandle;
    try {
      file = await open(options.path, 'r+');
    } catch (error) {
      await journal.close();
      if (isMissing(error)) return undefined;
      throw error;
    }
    const upload = new PartedUpload({ ...options, ...header, file, journal });
    const { size } = await file.stat();
    for (const [number, part] of parts) upload.#adopt(number, part, size);
    return upload;
  }

  /** Bytes of the parts that are there. */
  get bytes(): number {
    return [...this.#parts.values()].reduce((sum, part) => sum + part.size, 0);
  }

  /** The parts that are there as a whole, in order. */
  list(): StoredPart[] {
    return [...this.#parts]
      .flatMap(([part_number, { etag, size }]) => (etag === undefined ? [] : [{ part_number, etag, size }]))
      .toSorted((a, b) => a.part_number - b.part_number);
  }

  /**
   * Takes one part, or a piece of one. It counts once it has arrived whole; from the beginning of a newer PUT of the same
   * part, which also cuts the older one, only that one can.
   * @param place where a piece goes; a whole part without. Pieces come in order, and one may be sent again.
   * @returns the part's entity tag; undefined while pieces of it are missing.
   * @throws {RelayError} offset_mismatch when a piece leaves a gap.
   */
  async put(partNumber: number, request: IncomingMessage, place?: PiecePlace): Promise<string | undefined> {
    if (this.#closed) throw noSuchUpload();
    const declared = readDeclaredLength(request);
    if (Math.max(place?.size ?? 0, declared ?? 0) > this.#options.partSize) throw this.#tooLong();
    if (place !== undefined && declared !== undefined && declared !== place.length) throw notAsRanged();
    const older = this.#arriving.get(partNumber);
    const { promise: ended, resolve: end } = Promise.withResolvers<void>();
    const arrival: Arrival = { controller: new AbortController(), ended };
    this.#arriving.set(partNumber, arrival);
    try {
      older?.controller.abort(new RelayError('transfer_interrupted', 'a newer PUT of the same part takes its place'));
      await older?.ended;
      return await this.#receive(partNumber, request, { declared, place, signal: arrival.controller.signal });
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
    await this.#options.journal.close();
    for (const [partNumber, part] of this.#parts) {
      if (partNumber > parts.length) part.reservation.release();
    }
    return this.#options.file;
  }

  /** Takes no more parts in this process; a later one can take the upload up. */
  async suspend(): Promise<void> {
    this.#closed = true;
    await this.#stopArrivals();
    // A second closing is no error.
    await this.#options.file.close().catch(() => undefined);
    await this.#options.journal.close();
  }

  /** Takes no more parts, and frees what there is. */
  async abort(): Promise<void> {
    await this.suspend();
    // First what tells of it, so that nothing is taken up whose bytes are gone.
    await UploadJournal.remove(this.path);
    await removeFile(this.path);
    for (const part of this.#parts.values()) part.reservation.release();
    this.#parts.clear();
  }

  async #receive(
    partNumber: number,
    request: IncomingMessage,
    { declared, place, signal }: { declared: number | undefined; place: PiecePlace | undefined; signal: AbortSignal },
  ): Promise<string | undefined> {
    signal.throwIfAborted();
    const { partSize, file, space } = this.#options;
    const onBytes = (count: number): void => this.#options.onBytes(this.key, count);
    const { offset, length: limit } = place ?? { offset: 0, length: partSize };
    const part = await this.#open(partNumber, offset);
    const reservation = await space.reserve(declared ?? 0);
    try {
      const position = (partNumber - 1) * partSize + offset;
      const length = await receiveBody(request, { file, position, limit, reservation, signal, onBytes });
      if (place !== undefined && length !== place.length) throw notAsRanged();
      part.reservation.absorb(reservation);
      part.size = offset + length;
      if (place === undefined || part.size === place.size) await this.#conclude(partNumber, part);
      return part.etag;
    } catch (error) {
      reservation.release();
      throw error;
    }
  }

  /** A part is whole, and stays so across a restart and a loss of power: on the disk first, and only then in the journal. */
  async #conclude(partNumber: number, part: Part): Promise<void> {
    const etag = `"${randomBytes(16).toString('hex')}"`;
    await this.#options.file.datasync();
    await this.#options.journal.noteWhole(partNumber, { size: part.size, etag });
    part.etag = etag;
  }

  #adopt(partNumber: number, { size, etag }: KnownPart, fileSize: number): void {
    const { partSize, space } = this.#options;
    if (size > partSize || (partNumber - 1) * partSize + size > fileSize) return;
    this.#parts.set(partNumber, { reservation: space.adopt(size), size, etag });
  }

  /** Makes a part ready for a piece at this offset: what was there from it on does not count any more. */
  async #open(partNumber: number, offset: number): Promise<Part> {
    const part = this.#parts.get(partNumber) ?? {
      reservation: await this.#options.space.reserve(0),
      size: 0,
      etag: undefined,
    };
    if (offset > part.size) {
      throw new RelayError('offset_mismatch', `the piece begins at ${offset}, and the part has ${part.size} bytes`, {
        details: { next_offset: part.size },
      });
    }
    if (part.etag !== undefined) await this.#options.journal.noteBroken(partNumber);
    part.reservation.shrink(part.size - offset);
    part.size = offset;
    part.etag = undefined;
    this.#parts.set(partNumber, part);
    return part;
  }

  #check(parts: readonly UploadedPart[]): number {
    if (parts.length === 0) throw invalidParts('no part is named');
    let total = 0;
    for (const [index, { part_number: partNumber, etag }] of parts.entries()) {
      if (partNumber !== index + 1) throw invalidParts(`part ${index + 1} is missing or out of order`);
      const part = this.#parts.get(partNumber);
      if (part?.etag === undefined) throw invalidParts(`part ${partNumber} has not arrived`);
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

/** Removes a file that may be gone already. */
async function removeFile(path: string): Promise<void> {
  await unlink(path).catch((error: unknown) => {
    if (!isMissing(error)) throw error;
  });
}

/** The answer to parts of an upload that was completed or aborted, or never was. */
export const noSuchUpload = (): RelayError => new RelayError('not_found', 'there is no such upload in the store');

const notAsRanged = (): RelayError =>
  new RelayError('invalid_request', 'the body has another length than its content-range says');

const invalidParts = (problem: string): RelayError =>
  new RelayError('invalid_request', `the upload cannot be completed: ${problem}`);
