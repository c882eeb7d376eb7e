import type { SignedRequest } from '../protocol/commands.ts';
import type { StoredPart, UploadedPart } from '../protocol/answers.ts';

/** An object as the store sees it. */
export interface StoredObject {
  readonly key: string;
  readonly size: number;
  readonly modifiedAt: Date;
}

/** A multipart upload that was begun and neither completed nor aborted. */
export interface UnfinishedUpload {
  readonly key: string;
  readonly uploadId: string;
  readonly startedAt: Date;
}

/** How long a signed URL is good for, and by which address its user reaches the router. */
export interface SigningOptions {
  readonly expiresAt: Date;
  /** The router's base URL as the user of this URL knows it, without a trailing slash. Only the file store needs it. */
  readonly baseUrl: string;
}

/**
 * Where pattern C puts objects. A key is used for one sending only and never overwritten. Every method that reaches the
 * store throws `RelayError` `store_unavailable` when it cannot be reached or refuses, `store_full` when it has no space.
 */
export interface ObjectStore {
  readonly kind: 'file' | 's3';

  /** Makes sure that the store is there and usable (S3: that the bucket is, creating it where allowed). */
  open(): Promise<void>;

  /** A PUT of the whole object in one piece. */
  signPut(key: string, options: SigningOptions): Promise<SignedRequest>;

  /** Begins an upload in parts of `partSize` bytes each (the last may be shorter). @returns its id. */
  createUpload(key: string, partSize: number): Promise<string>;

  /** A PUT of one part. The store answers it with an `ETag` that `completeUpload` wants back. */
  signPart(key: string, uploadId: string, partNumber: number, options: SigningOptions): Promise<SignedRequest>;

  /** The parts that are there as a whole, in order; undefined where there is no such upload any more. */
  listParts(key: string, uploadId: string): Promise<StoredPart[] | undefined>;

  /** Makes the object out of its parts, all of them and in order. The object appears whole or not at all. */
  completeUpload(key: string, uploadId: string, parts: readonly UploadedPart[]): Promise<void>;

  /** Forgets an upload and frees what its parts took. Aborting one that is not there is no error. */
  abortUpload(key: string, uploadId: string): Promise<void>;

  /** The name of an object: a URL without a signature, the same for every user, to compare and to log. */
  nameObject(key: string, baseUrl: string): string;

  /** A URL that downloads the object until `expiresAt`, with ranges and `If-Match`. `filename` is what a browser saves it as. */
  signGet(key: string, options: SigningOptions & { readonly filename: string }): Promise<string>;

  /** Size and age of an object; undefined where there is none. */
  stat(key: string): Promise<StoredObject | undefined>;

  /** Removes an object. Removing one that is not there is no error. */
  remove(key: string): Promise<void>;

  /** Every object that relay put there. */
  list(): AsyncIterable<StoredObject>;

  /** Every upload that relay began there and that is neither completed nor aborted. */
  listUploads(): AsyncIterable<UnfinishedUpload>;

  /** Lets go of sockets, files and timers. */
  close(): Promise<void>;
}
