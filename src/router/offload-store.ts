import type { IncomingMessage, ServerResponse } from 'node:http';
import { join } from 'node:path';
import { RelayError } from '../protocol/errors.ts';
import { FileStore } from '../store/file-store.ts';
import type { AboutStoreRequest } from '../store/file-store-handler.ts';
import { loadSigningKey } from '../store/file-store-signature.ts';
import { ObjectIndex } from '../store/object-index.ts';
import type { ObjectStore } from '../store/object-store.ts';
import { Sweeper } from '../store/sweeper.ts';
import type { RouterOptions } from './options.ts';
import type { Offloads } from './patterns/offloading.ts';

/** The store of pattern C with all that keeps it in order: its index, its sweeper and, for the file store, its URLs. */
export class OffloadStore {
  readonly store: ObjectStore;
  readonly index: ObjectIndex;
  readonly #sweeper: Sweeper;
  readonly #files: FileStore | undefined;
  #offloads: Offloads | undefined;
  #opened: Promise<void> | undefined;

  private constructor(options: RouterOptions, store: (self: OffloadStore) => ObjectStore, index: ObjectIndex) {
    this.index = index;
    this.store = store(this);
    this.#files = this.store instanceof FileStore ? this.store : undefined;
    this.#sweeper = new Sweeper({
      store: this.store,
      index,
      keepMs: options.storeKeepMs,
      uploadMaxAgeMs: options.storeKeepMs,
      isActive: (key) => this.#offloads?.isActive(key) ?? false,
      logger: options.logger,
    });
  }

  /** Opens the store that the options name; undefined for none. A store that cannot be reached yet is tried again when it is needed. */
  static async open(options: RouterOptions): Promise<OffloadStore | undefined> {
    const { storeLocation: location, stateDir, logger } = options;
    if (location.kind === 'none') return undefined;
    const index = new ObjectIndex({ path: join(stateDir, 'objects.db'), logger });
    try {
      const makeStore =
        location.kind === 'file'
          ? await makeFileStore(options, location.directory)
          : await makeS3Store(options, location);
      const self = new OffloadStore(options, makeStore, index);
      await self.ready().catch((error: unknown) => {
        const { message } = RelayError.from(error);
        if (location.kind === 'file')
          throw new RelayError('usage', `cannot use the store ${location.directory}: ${message}`, { cause: error });
        logger.warn({ detail: message }, 'the store is not available yet; it is tried again when it is needed');
      });
      self.#sweeper.start();
      return self;
    } catch (error) {
      index.close();
      throw error;
    }
  }

  /** Resolves once the store was there. @throws {RelayError} store_unavailable when it is not; the next call tries again. */
  ready(): Promise<void> {
    this.#opened ??= this.store.open().catch((error: unknown) => {
      this.#opened = undefined;
      throw error;
    });
    return this.#opened;
  }

  /** Connects the store with the uploads that fill it. */
  watch(offloads: Offloads): void {
    this.#offloads = offloads;
  }

  /** Whether a path is one of the file store's URLs. */
  serves(path: string): boolean {
    return this.#files !== undefined && path.startsWith('/store/');
  }

  /** Answers a request for one of the file store's URLs. */
  async serve(
    request: IncomingMessage,
    response: ServerResponse,
    pathAndQuery: string,
    about: AboutStoreRequest,
  ): Promise<void> {
    await this.#files?.handleRequest(request, response, pathAndQuery, about);
  }

  noteBytes(key: string, bytes: number): void {
    this.#offloads?.noteBytes(key, bytes);
  }

  isUploading(key: string): boolean {
    return this.#offloads?.isActive(key) ?? false;
  }

  /** The store had to make room. */
  forget(key: string): void {
    this.index.remove(key);
    if (!this.isUploading(key)) this.index.endUpload(key);
  }

  isLive(key: string): boolean {
    return this.#offloads?.isActive(key) === true || this.index.isLive(key, new Date());
  }

  async close(): Promise<void> {
    await this.#sweeper.close();
    await this.store.close();
    this.index.close();
  }
}

async function makeFileStore(options: RouterOptions, directory: string): Promise<(self: OffloadStore) => ObjectStore> {
  const signingKey = await loadSigningKey(options.stateDir);
  return (self) =>
    new FileStore({
      directory,
      maxBytes: options.storeMaxBytes,
      minFreeBytes: options.storeMinFreeBytes,
      signingKey,
      isLive: (key) => self.isLive(key),
      isUploading: (key) => self.isUploading(key),
      onBytes: (key, bytes) => self.noteBytes(key, bytes),
      onRead: (key) => self.index.touch(key, { usedAt: new Date() }),
      onEvict: (key) => self.forget(key),
      logger: options.logger,
    });
}

async function makeS3Store(
  options: RouterOptions,
  { bucket, prefix }: { bucket: string; prefix: string },
): Promise<() => ObjectStore> {
  // Only who uses S3 pays for loading its client.
  const { S3Store } = await import('../store/s3-store.ts');
  const { region, endpoint, nodeEndpoint, appEndpoint, pathStyle } = options.s3;
  return () =>
    new S3Store({
      bucket,
      prefix,
      ...(region !== undefined && { region }),
      ...(endpoint !== undefined && { endpoint }),
      ...(nodeEndpoint !== undefined && { nodeEndpoint }),
      ...(appEndpoint !== undefined && { appEndpoint }),
      ...(pathStyle !== undefined && { forcePathStyle: pathStyle }),
    });
}
