import { randomBytes } from 'node:crypto';
import { chmod, mkdir, open, readdir, rm, statfs, unlink } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { join } from 'node:path';
import type { StoredPart, UploadedPart } from '../protocol/answers.ts';
import type { SignedRequest } from '../protocol/commands.ts';
import { RelayError } from '../protocol/errors.ts';
import type { Logger } from '../observability/logger.ts';
import { fromFileError } from './file-store-errors.ts';
import {
  type AboutStoreRequest,
  type FileStoreAccess,
  handleStoreRequest,
  objectPath,
  partPath,
} from './file-store-handler.ts';
import { ObjectFiles } from './file-store-objects.ts';
import { readDeclaredLength, receiveBody } from './file-store-receive.ts';
import { signPath } from './file-store-signature.ts';
import { StoreSpace } from './file-store-space.ts';
import { noSuchUpload, PartedUpload, type PiecePlace } from './file-store-upload.ts';
import { UploadJournal } from './upload-journal.ts';
import { isObjectKey } from './object-key.ts';
import type { ObjectStore, SigningOptions, StoredObject, UnfinishedUpload } from './object-store.ts';

const GIB = 1024 ** 3;

export interface FileStoreOptions {
  /** Made with mode 0700 where it is missing. It belongs to one router alone. */
  readonly directory: string;
  /** Most bytes that objects and uploads take together; 10 GiB by default. */
  readonly maxBytes?: number;
  /** Bytes of the disk that stay free; 1 GiB by default. */
  readonly minFreeBytes?: number;
  /** 32 bytes, see `loadSigningKey`. */
  readonly signingKey: Buffer;
  /** Whether an object is still needed: it has a live URL, or is being handed over. Such a one is never evicted. */
  readonly isLive: (key: string) => boolean;
  /** Whether an upload is under way, so that what has come of it is never evicted; always by default. */
  readonly isUploading?: (key: string) => boolean;
  readonly logger: Logger;
  /** Told of bytes of an object as they arrive, piece by piece: must be cheap, and must not throw. */
  readonly onBytes?: (key: string, count: number) => void;
  /** Told when a read of an object begins, and when it has ended well. */
  readonly onRead?: (key: string) => void;
  /** Told when an object was removed to make room. */
  readonly onEvict?: (key: string) => void;
  readonly now?: () => Date;
  /** Bytes free on the disk; read from the file system by default. */
  readonly readFreeBytes?: () => Promise<number>;
}

/**
 * The object store that needs nothing else: files in a directory, served by the router under URLs that it signs. An object
 * is one file that appears whole or not at all. Of an upload in parts that is unfinished when the process ends, the next
 * `open` finds the parts that have arrived whole; what came in one piece is gone.
 */
export class FileStore implements ObjectStore, FileStoreAccess {
  readonly kind = 'file';
  readonly signingKey: Buffer;
  readonly logger: Logger;
  readonly #options: FileStoreOptions;
  readonly #objectsDirectory: string;
  readonly #uploadsDirectory: string;
  readonly #objects: ObjectFiles;
  readonly #space: StoreSpace;
  readonly #uploads = new Map<string, PartedUpload>();
  /** Whole objects that are arriving, by key. */
  readonly #arriving = new Map<string, AbortController>();
  #isOpen = false;
  readonly #cuts = new Set<() => void>();
  /** Requests that are being answered. */
  readonly #active = new Set<Promise<void>>();

  constructor(options: FileStoreOptions) {
    this.#options = options;
    this.signingKey = options.signingKey;
    this.logger = options.logger;
    this.#objectsDirectory = join(options.directory, 'objects');
    this.#uploadsDirectory = join(options.directory, 'uploads');
    this.#objects = new ObjectFiles({
      directory: this.#objectsDirectory,
      onFreed: (bytes) => this.#space.free(bytes),
    });
    this.#space = new StoreSpace({
      maxBytes: options.maxBytes ?? 10 * GIB,
      minFreeBytes: options.minFreeBytes ?? GIB,
      readFreeBytes: options.readFreeBytes ?? (() => readFreeBytes(options.directory)),
      countEvictable: () =>
        this.#listEvictable().reduce((sum, object) => sum + object.size, 0) +
        this.#listIdle().reduce((sum, upload) => sum + upload.bytes, 0),
      evict: (bytes) => this.#evict(bytes),
    });
  }

  /** Bytes that objects and unfinished uploads take, those that are promised included. */
  get usedBytes(): number {
    return this.#space.used;
  }

  now(): Date {
    return this.#options.now?.() ?? new Date();
  }

  async open(): Promise<void> {
    if (this.#isOpen) return;
    try {
      await mkdir(this.#options.directory, { recursive: true, mode: 0o700 });
      for (const directory of [this.#objectsDirectory, this.#uploadsDirectory]) {
        await mkdir(directory, { recursive: true, mode: 0o700 });
        await chmod(directory, 0o700);
      }
      this.#space.count(await this.#objects.load());
      await this.#restoreUploads();
      this.#isOpen = true;
    } catch (error) {
      throw fromFileError(error);
    }
  }

  async signPut(key: string, options: SigningOptions): Promise<SignedRequest> {
    return this.#sign(objectPath(checkKey(key)), options);
  }

  async createUpload(key: string, partSize: number): Promise<string> {
    const id = randomBytes(16).toString('hex');
    try {
      const upload = await PartedUpload.create({
        ...this.#placeUpload(id),
        key: checkKey(key),
        partSize,
        startedAt: this.now(),
      });
      this.#uploads.set(id, upload);
      return id;
    } catch (error) {
      throw fromFileError(error);
    }
  }

  async signPart(key: string, uploadId: string, partNumber: number, options: SigningOptions): Promise<SignedRequest> {
    checkKey(key);
    return this.#sign(partPath(uploadId, partNumber), options);
  }

  async listParts(key: string, uploadId: string): Promise<StoredPart[] | undefined> {
    return this.#findUpload(key, uploadId)?.list();
  }

  async completeUpload(key: string, uploadId: string, parts: readonly UploadedPart[]): Promise<void> {
    const upload = this.#findUpload(key, uploadId);
    if (upload === undefined) {
      // It may have been completed before by one who did not hear of it.
      if ((await this.stat(key)) !== undefined) return;
      throw new RelayError('store_unavailable', 'the store no longer knows the upload: it must be begun anew');
    }
    try {
      const file = await upload.seal(parts);
      await this.#objects.publish(key, file, upload.path);
      this.#uploads.delete(uploadId);
      await UploadJournal.remove(upload.path);
    } catch (thrown) {
      const error = fromFileError(thrown);
      // Parts that do not agree can still be sent; what the disk refused once cannot be mended.
      if (error.code !== 'invalid_request') await this.abortUpload(key, uploadId);
      throw error;
    }
  }

  async abortUpload(key: string, uploadId: string): Promise<void> {
    const upload = this.#findUpload(key, uploadId);
    if (upload === undefined) return;
    this.#uploads.delete(uploadId);
    await upload.abort().catch((error: unknown) => {
      throw fromFileError(error);
    });
  }

  nameObject(key: string, baseUrl: string): string {
    return `${baseUrl}${objectPath(key)}`;
  }

  async signGet(key: string, options: SigningOptions & { readonly filename: string }): Promise<string> {
    const parts = { method: 'GET', path: objectPath(checkKey(key)), filename: options.filename } as const;
    return `${options.baseUrl}${signPath(this.signingKey, parts, options.expiresAt)}`;
  }

  async stat(key: string): Promise<StoredObject | undefined> {
    return this.#objects.stat(key).catch((error: unknown) => {
      throw fromFileError(error);
    });
  }

  /** Removes an object, and cuts a PUT of it that is still arriving. */
  async remove(key: string): Promise<void> {
    this.#arriving.get(key)?.abort(new RelayError('transfer_interrupted', 'the object was removed'));
    await this.#objects.remove(key).catch((error: unknown) => {
      throw fromFileError(error);
    });
  }

  async *list(): AsyncIterable<StoredObject> {
    yield* this.#objects.list();
  }

  async *listUploads(): AsyncIterable<UnfinishedUpload> {
    for (const { id, key, startedAt } of this.#uploads.values()) yield { uploadId: id, key, startedAt };
  }

  /** Ends every transfer. Uploads in parts are left for the next process. */
  async close(): Promise<void> {
    const reason = new RelayError('transfer_interrupted', 'the store is closing');
    for (const controller of this.#arriving.values()) controller.abort(reason);
    for (const cut of this.#cuts) cut();
    const uploads = [...this.#uploads.values()];
    this.#uploads.clear();
    await Promise.all(uploads.map((upload) => upload.suspend()));
    await Promise.all(this.#active);
  }

  /**
   * Serves `PUT`, `GET` and `HEAD` under `/store/`. Answers whatever comes, errors included, and never rejects.
   * @param pathAndQuery the request's target from `/store/` on: what stands before it is no part of the signature.
   */
  handleRequest(
    request: IncomingMessage,
    response: ServerResponse,
    pathAndQuery: string,
    about: AboutStoreRequest = {},
  ): Promise<void> {
    const handled = handleStoreRequest(this, { request, response, pathAndQuery, ...about }).finally(() =>
      this.#active.delete(handled),
    );
    this.#active.add(handled);
    return handled;
  }

  /** @internal */
  async putObject(key: string, request: IncomingMessage): Promise<string> {
    this.#arriving.get(key)?.abort(new RelayError('transfer_interrupted', 'a newer PUT of the object takes its place'));
    const controller = new AbortController();
    this.#arriving.set(key, controller);
    try {
      return await this.#receiveObject(key, request, controller.signal);
    } finally {
      if (this.#arriving.get(key) === controller) this.#arriving.delete(key);
    }
  }

  /** @internal */
  async putPart(
    uploadId: string,
    partNumber: number,
    request: IncomingMessage,
    place: PiecePlace | undefined,
  ): Promise<string | undefined> {
    const upload = this.#uploads.get(uploadId);
    if (upload === undefined) throw noSuchUpload();
    return upload.put(partNumber, request, place);
  }

  /** @internal */
  openObject(key: string) {
    return this.#objects.open(key);
  }

  /** @internal */
  noteRead(key: string): void {
    try {
      this.#options.onRead?.(key);
    } catch (error) {
      // Whoever reads is not to suffer from what keeps account of it.
      this.logger.warn({ err: error, key }, 'a read could not be noted');
    }
  }

  /** @internal */
  track(cut: () => void): () => void {
    this.#cuts.add(cut);
    return () => this.#cuts.delete(cut);
  }

  async #receiveObject(key: string, request: IncomingMessage, signal: AbortSignal): Promise<string> {
    const declared = readDeclaredLength(request);
    const reservation = await this.#space.reserve(declared ?? 0);
    const path = join(this.#uploadsDirectory, `put-${randomBytes(16).toString('hex')}`);
    try {
      const file = await open(path, 'wx', 0o600);
      try {
        const onBytes = (count: number) => this.#options.onBytes?.(key, count);
        const limit = declared ?? Number.MAX_SAFE_INTEGER;
        await receiveBody(request, { file, position: 0, limit, reservation, signal, onBytes });
        signal.throwIfAborted();
      } catch (error) {
        await file.close();
        throw error;
      }
      reservation.trim();
      return await this.#objects.publish(key, file, path);
    } catch (error) {
      await unlink(path).catch(() => undefined);
      reservation.release();
      throw error;
    }
  }

  #placeUpload(id: string) {
    const onBytes = (key: string, count: number): void => this.#options.onBytes?.(key, count);
    return { id, path: join(this.#uploadsDirectory, id), space: this.#space, onBytes };
  }

  /** Takes up what former processes have left of uploads in parts, and removes all else. */
  async #restoreUploads(): Promise<void> {
    const names = await readdir(this.#uploadsDirectory);
    for (const name of names) {
      const id = UploadJournal.readName(name);
      const upload = id === undefined ? undefined : await PartedUpload.restore(this.#placeUpload(id));
      if (upload !== undefined) this.#uploads.set(upload.id, upload);
    }
    for (const name of names) {
      if (this.#uploads.has(UploadJournal.readName(name) ?? name)) continue;
      await rm(join(this.#uploadsDirectory, name), { recursive: true, force: true });
    }
  }

  #findUpload(key: string, uploadId: string): PartedUpload | undefined {
    const upload = this.#uploads.get(uploadId);
    return upload?.key === key ? upload : undefined;
  }

  #sign(path: string, { baseUrl, expiresAt }: SigningOptions): SignedRequest {
    const url = `${baseUrl}${signPath(this.signingKey, { method: 'PUT', path }, expiresAt)}`;
    return { method: 'PUT', url, headers: {} };
  }

  #listEvictable(): StoredObject[] {
    return [...this.#objects.listUnread()].filter(({ key }) => !this.#options.isLive(key));
  }

  /** Uploads that are only kept to be gone on with, the oldest first. */
  #listIdle(): PartedUpload[] {
    const { isUploading = () => true } = this.#options;
    return [...this.#uploads.values()]
      .filter(({ key }) => !isUploading(key))
      .toSorted((a, b) => a.startedAt.getTime() - b.startedAt.getTime());
  }

  async #evict(bytes: number): Promise<void> {
    let freed = 0;
    for (const { key, size } of this.#listEvictable()) {
      if (freed >= bytes) return;
      this.logger.info({ key, size }, 'evicted an object without a live URL to make room');
      await this.#objects.remove(key);
      this.#options.onEvict?.(key);
      freed += size;
    }
    for (const { id, key, bytes: size } of this.#listIdle()) {
      if (freed >= bytes) return;
      this.logger.info({ key, size }, 'gave up an unfinished upload that nobody goes on with to make room');
      await this.abortUpload(key, id);
      this.#options.onEvict?.(key);
      freed += size;
    }
  }
}

function checkKey(key: string): string {
  if (isObjectKey(key)) return key;
  throw new RelayError('internal', `${JSON.stringify(key)} is not an object key`);
}

async function readFreeBytes(directory: string): Promise<number> {
  const stats = await statfs(directory);
  return stats.bavail * stats.bsize;
}
