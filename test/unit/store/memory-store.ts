import { RelayError } from '../../../src/protocol/errors.ts';
import type { ObjectStore, StoredObject, UnfinishedUpload } from '../../../src/store/object-store.ts';

/** A store whose objects are put there by the test, for what only lists and removes. */
export class MemoryStore implements ObjectStore {
  readonly kind = 's3';
  readonly objects = new Map<string, StoredObject>();
  readonly uploads = new Map<string, UnfinishedUpload>();
  /** Keys that cannot be removed. */
  readonly stuck = new Set<string>();
  isReachable = true;

  put(key: string, modifiedAt: Date): void {
    this.objects.set(key, { key, size: 1, modifiedAt });
  }

  begin(key: string, uploadId: string, startedAt: Date): void {
    this.uploads.set(uploadId, { key, uploadId, startedAt });
  }

  async open(): Promise<void> {}

  async abortUpload(key: string, uploadId: string): Promise<void> {
    this.#check(key);
    this.uploads.delete(uploadId);
  }

  async remove(key: string): Promise<void> {
    this.#check(key);
    this.objects.delete(key);
  }

  async stat(key: string): Promise<StoredObject | undefined> {
    return this.objects.get(key);
  }

  async *list(): AsyncIterable<StoredObject> {
    this.#check('');
    yield* this.objects.values();
  }

  async *listUploads(): AsyncIterable<UnfinishedUpload> {
    this.#check('');
    yield* this.uploads.values();
  }

  nameObject(key: string): string {
    return `memory:${key}`;
  }

  signPut = unused;
  signPart = unused;
  signGet = unused;
  createUpload = unused;
  completeUpload = unused;
  listParts = unused;

  async close(): Promise<void> {}

  #check(key: string): void {
    if (!this.isReachable || this.stuck.has(key)) throw new RelayError('store_unavailable');
  }
}

async function unused(): Promise<never> {
  throw new Error('this is not what the store is for');
}
