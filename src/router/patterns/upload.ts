import type {
  DatasetInfo,
  OffloadProgress,
  PartsGrant,
  PartsRequest,
  Result,
  StoredPart,
} from '../../protocol/answers.ts';
import type { UploadTarget } from '../../protocol/commands.ts';
import { RelayError } from '../../protocol/errors.ts';
import type { Mac } from '../../protocol/mac.ts';
import { createObjectKey } from '../../store/object-key.ts';
import type { ObjectStore } from '../../store/object-store.ts';
import type { Answer, Exchange } from '../exchange.ts';
import type { Link } from '../links/link.ts';
import { acceptEncoding } from './accept-encoding.ts';

const MIB = 1024 * 1024;
/** Longer parts of large datasets are fewer URLs to sign, and up to the longest still quickly sent again. */
const SHORTEST_PART_BYTES = 16 * MIB;
const LONGEST_PART_BYTES = 64 * MIB;
const USUAL_PARTS = 64;
/** S3 takes 10,000. */
const MOST_PARTS = 9000;
/** For a dataset of unknown size: 10,000 parts of it are the largest object that S3 takes in parts of one size. */
const BLIND_PART_BYTES = 512 * MIB;

/** Where an offloaded dataset is, and what is known of it. */
export interface Offloaded {
  /** The object in the router's store; undefined where the node gave a URL of a store of its own. */
  readonly key: string | undefined;
  /** The node's own URL; undefined for an object in the router's store, whose URLs are signed when they are handed out. */
  readonly url: string | undefined;
  readonly size: number | undefined;
  readonly etag: string | undefined;
  readonly digest: string | undefined;
  readonly lastModified: string | undefined;
  /** How far it has grown meanwhile; undefined where nobody said. */
  readonly currentSize: number | undefined;
}

/** Somebody who waits for an upload. */
export interface Waiter {
  done(result: Offloaded): void;
  fail(error: RelayError): void;
}

/** An upload in parts at the store. */
export interface UploadParts {
  readonly uploadId: string;
  /** Of all parts but the last, in bytes. */
  readonly partSize: number;
}

export interface UploadOptions {
  readonly store: ObjectStore;
  readonly mac: Mac;
  /** What the dataset was when it was asked about. */
  readonly stat: DatasetInfo | undefined;
  readonly urlTtlMs: number;
  /** Whether a URL of the node's own may be handed out. */
  readonly allowsUrl: (url: string) => boolean;
  /** An upload of the same content that stopped, to be gone on with. */
  readonly resumed?: (UploadParts & { readonly key: string }) | undefined;
  /** Told when the upload goes on in parts, and again whenever more of them are asked for. */
  readonly onParts: (upload: Upload, parts: UploadParts) => void;
  /** Told when the upload is over, before its waiters are; by then nothing new can join it. */
  readonly onEnd: (upload: Upload, result: Offloaded | RelayError) => void;
}

/** One sending of a dataset to the store, for all requests that want this content. */
export class Upload implements Answer {
  /** Used for this sending only, so that a late PUT of another cannot change what was handed out. */
  readonly key: string;
  readonly waiters = new Set<Waiter>();
  readonly #options: UploadOptions;
  #exchange: Exchange | undefined;
  #baseUrl = '';
  #parts: UploadParts | undefined;
  #partsBegun: Promise<UploadParts> | undefined;
  #reported: number | undefined;
  #received = 0;
  /** Bytes of it that the store had already when the connector was asked. */
  bytesStored = 0;
  totalSize: number | undefined;

  constructor(options: UploadOptions) {
    this.#options = options;
    this.key = options.resumed?.key ?? createObjectKey(options.mac);
    this.#parts = options.resumed;
    this.totalSize = options.stat?.size;
  }

  attach(exchange: Exchange): void {
    this.#exchange = exchange;
  }

  get error(): RelayError | undefined {
    return this.#exchange?.error;
  }

  /** The upload in parts, where there is one. */
  get parts(): UploadParts | undefined {
    return this.#parts;
  }

  get bytesDone(): number {
    return this.#reported ?? this.#received;
  }

  /** The file store took in bytes of this upload: a sign of life, also from a connector that reports nothing itself. */
  noteBytes(bytes: number): void {
    this.#received += bytes;
    this.#exchange?.noteBytes(bytes);
  }

  /** One waiter lets go. The upload stops with the last. */
  leave(waiter: Waiter, error: RelayError): void {
    if (this.waiters.delete(waiter) && this.waiters.size === 0) this.#exchange?.fail(error);
  }

  /** Where the connector of `link` puts the dataset in one piece. */
  async signTarget({ hello }: Link): Promise<UploadTarget> {
    const { baseUrl } = hello;
    const { store, urlTtlMs } = this.#options;
    this.#baseUrl = baseUrl;
    const expiresAt = new Date(Date.now() + urlTtlMs);
    const put = await store.signPut(this.key, { expiresAt, baseUrl });
    return {
      ...put,
      download_url: store.nameObject(this.key, baseUrl),
      expires_at: expiresAt.toISOString(),
      // Others keep what they are sent, and whoever reads an object there has to be able to.
      ...(store.kind === 'file' && acceptEncoding(hello)),
    };
  }

  async grantParts({ part_numbers: numbers, total_size: size, want_done }: PartsRequest): Promise<PartsGrant> {
    const { store, urlTtlMs, onParts } = this.#options;
    this.totalSize ??= size;
    // Many requests for parts may come at once, and all belong to one upload.
    this.#partsBegun ??= this.#takeUpParts(choosePartSize(size ?? this.totalSize));
    const parts = await this.#partsBegun;
    if (parts === this.#parts && this.#exchange?.ended === false) onParts(this, parts);
    const done = want_done === true ? await this.#listDone(parts) : undefined;
    const expiresAt = new Date(Date.now() + urlTtlMs);
    const sign = async (part_number: number): Promise<PartsGrant['parts'][number]> => ({
      part_number,
      ...(await store.signPart(this.key, parts.uploadId, part_number, { expiresAt, baseUrl: this.#baseUrl })),
    });
    return {
      parts: await Promise.all(numbers.map(sign)),
      part_size: parts.partSize,
      ...(done !== undefined && { done }),
      ...(store.kind === 'file' && { ranges: true }),
      expires_at: expiresAt.toISOString(),
    };
  }

  takeProgress({ bytes_done, total_size }: OffloadProgress): void {
    this.#reported = bytes_done;
    this.totalSize = total_size ?? this.totalSize;
  }

  async takeResult(result: Result): Promise<void> {
    const exchange = this.#exchange as Exchange;
    // The store may take its time to make a large object out of its parts; that is not the connector's silence.
    exchange.hold();
    const offloaded = await this.#accept(result);
    if (exchange.ended) {
      await this.discard();
      return;
    }
    exchange.succeed();
    this.#options.onEnd(this, offloaded);
    for (const waiter of this.waiters) waiter.done(offloaded);
  }

  fail(cause: RelayError): void {
    // The precondition was the router's own, from asking about the dataset a moment before.
    const changed = cause.code === 'precondition_failed';
    const error = changed
      ? new RelayError('dataset_changed', 'the dataset changed before it was uploaded', { cause })
      : cause;
    this.#options.onEnd(this, error);
    for (const waiter of this.waiters) waiter.fail(error);
  }

  /** Frees what an upload that failed has left in the store. */
  async discard(): Promise<void> {
    const { store } = this.#options;
    const parts = (await this.#partsBegun?.catch(() => undefined)) ?? this.#parts;
    if (parts !== undefined) await store.abortUpload(this.key, parts.uploadId);
    await store.remove(this.key);
  }

  /** Goes on with the upload that there is, or begins one. */
  async #takeUpParts(size: number): Promise<UploadParts> {
    const { store, resumed } = this.#options;
    try {
      if (resumed !== undefined && (await store.listParts(this.key, resumed.uploadId)) !== undefined) return resumed;
      this.#parts = { uploadId: await store.createUpload(this.key, size), partSize: size };
      return this.#parts;
    } catch (error) {
      // The next request for parts tries again.
      this.#partsBegun = undefined;
      throw error;
    }
  }

  /** The parts that need not be sent again: those that are stored in full length, of content that is certainly the same. */
  async #listDone({ uploadId, partSize }: UploadParts): Promise<StoredPart[]> {
    const { store, stat } = this.#options;
    const total = this.totalSize;
    if (stat?.etag === undefined || total === undefined) return [];
    const stored = (await store.listParts(this.key, uploadId)) ?? [];
    const whole = stored.filter(
      ({ part_number: n, size }) => size > 0 && size === Math.min(partSize, total - (n - 1) * partSize),
    );
    this.bytesStored = whole.reduce((sum, { size }) => sum + size, 0);
    return whole;
  }

  async #accept(result: Result): Promise<Offloaded> {
    const { store, stat, allowsUrl } = this.#options;
    const { download_url: url, size, digest } = result;
    if (url === undefined) throw new RelayError('invalid_request', 'field download_url: is needed');
    const about = {
      etag: result.etag ?? stat?.etag,
      digest,
      lastModified: result.last_modified ?? stat?.mtime,
      currentSize: result.current_size,
    };
    if (url !== store.nameObject(this.key, this.#baseUrl)) {
      if (!allowsUrl(url))
        throw new RelayError(
          'invalid_request',
          'field download_url: is neither the one that was given nor on an allowed origin',
        );
      await this.discard();
      return { key: undefined, url, size, ...about };
    }
    if (stat?.etag !== undefined && result.etag !== undefined && stat.etag !== result.etag) {
      throw new RelayError('dataset_changed', 'the dataset changed before it was uploaded');
    }
    if (result.parts !== undefined) {
      if (this.#parts === undefined) throw new RelayError('invalid_request', 'field parts: no parts were asked for');
      const inOrder = result.parts.toSorted((a, b) => a.part_number - b.part_number);
      await store.completeUpload(this.key, this.#parts.uploadId, inOrder);
    } else if (this.#parts !== undefined) {
      // It came in one piece after all.
      await store.abortUpload(this.key, this.#parts.uploadId);
    }
    const object = await store.stat(this.key);
    if (object === undefined)
      throw new RelayError('invalid_request', 'field download_url: there is no such object in the store');
    const expected = size ?? (result.etag === undefined || result.etag === stat?.etag ? stat?.size : undefined);
    if (expected !== undefined && object.size !== expected) {
      throw new RelayError(
        'invalid_request',
        `the object has ${object.size} bytes in the store, and the dataset ${expected}`,
      );
    }
    return { key: this.key, url: undefined, size: object.size, ...about };
  }
}

/** Parts short enough to be retried cheaply and sent side by side, and few enough for the store. */
function choosePartSize(size: number | undefined): number {
  if (size === undefined) return BLIND_PART_BYTES;
  const usual = Math.min(LONGEST_PART_BYTES, Math.max(SHORTEST_PART_BYTES, size / USUAL_PARTS));
  return Math.ceil(Math.max(usual, size / MOST_PARTS) / MIB) * MIB;
}
