import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  HeadBucketCommand,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
  ListObjectsV2Command,
  ListPartsCommand,
  PutObjectCommand,
  S3Client,
} from '@aws-sdk/client-s3';
import { getSignedUrl } from '@aws-sdk/s3-request-presigner';
import type { StoredPart, UploadedPart } from '../protocol/answers.ts';
import type { SignedRequest } from '../protocol/commands.ts';
import { RelayError } from '../protocol/errors.ts';
import { formatAttachment } from '../http/content-disposition.ts';
import { KEY_ROOT } from './object-key.ts';
import type { ObjectStore, SigningOptions, StoredObject, UnfinishedUpload } from './object-store.ts';
import { createS3Client, type S3ClientOptions, stripUserInfo, withDeadline } from './s3-client.ts';
import { S3PartSigner } from './s3-part-signer.ts';
import { fromS3Error, readErrorName, readStatus } from './s3-errors.ts';

export interface S3StoreOptions extends Omit<S3ClientOptions, 'endpoint'> {
  readonly bucket: string;
  /** Put before every key, without slashes at its ends; none by default. It belongs to one router alone. */
  readonly prefix?: string;
  /** By which the router reaches the store; AWS by default. */
  readonly endpoint?: string;
  /** By which nodes reach it, in upload URLs; `endpoint` by default. */
  readonly nodeEndpoint?: string;
  /** By which apps reach it, in download URLs; `endpoint` by default. */
  readonly appEndpoint?: string;
  /** Until the store has answered, retries included; 5 s by default. */
  readonly timeoutMs?: number;
  /** The same for making an object out of its parts, which takes a store long; 5 min by default. */
  readonly completeTimeoutMs?: number;
}

/** The longest that S3 lets a signed URL live, in seconds. */
const MAX_EXPIRY_SECONDS = 7 * 24 * 3600;

/** An object store that speaks S3: AWS, MinIO, Ceph and their like. Nodes and apps need no keys, every URL is signed here. */
export class S3Store implements ObjectStore {
  readonly kind = 's3';
  readonly #options: S3StoreOptions;
  readonly #prefix: string;
  readonly #client: S3Client;
  /** These only sign: they never connect. */
  readonly #nodeSigner: S3Client;
  readonly #appSigner: S3Client;
  readonly #partSigner: S3PartSigner;

  constructor(options: S3StoreOptions) {
    this.#options = options;
    this.#prefix = options.prefix === undefined || options.prefix === '' ? '' : `${options.prefix}/`;
    const { endpoint, nodeEndpoint = endpoint, appEndpoint = endpoint } = options;
    this.#client = createS3Client(options, endpoint);
    this.#nodeSigner = createS3Client(options, nodeEndpoint);
    this.#appSigner = createS3Client(options, appEndpoint);
    this.#partSigner = new S3PartSigner(this.#nodeSigner);
  }

  async open(): Promise<void> {
    const input = { Bucket: this.#options.bucket };
    try {
      await this.#run((abortSignal) => this.#client.send(new HeadBucketCommand(input), { abortSignal }));
    } catch (error) {
      if (!(error instanceof RelayError) || readStatus(error.cause) !== 404) throw error;
      await this.#createBucket();
    }
  }

  async signPut(key: string, options: SigningOptions): Promise<SignedRequest> {
    const url = await this.#run(() =>
      getSignedUrl(this.#nodeSigner, new PutObjectCommand(this.#address(key)), { expiresIn: readExpiry(options) }),
    );
    return { method: 'PUT', url, headers: {} };
  }

  async createUpload(key: string, _partSize: number): Promise<string> {
    const command = new CreateMultipartUploadCommand(this.#address(key));
    const { UploadId } = await this.#run((abortSignal) => this.#client.send(command, { abortSignal }));
    if (UploadId === undefined) throw this.#error(new Error('an upload was begun without an id'));
    return UploadId;
  }

  async signPart(key: string, uploadId: string, partNumber: number, options: SigningOptions): Promise<SignedRequest> {
    const part = { ...this.#address(key), UploadId: uploadId, PartNumber: partNumber };
    const url = await this.#run(() => this.#partSigner.sign(part, readExpiry(options)));
    return { method: 'PUT', url, headers: {} };
  }

  async listParts(key: string, uploadId: string): Promise<StoredPart[] | undefined> {
    const parts: StoredPart[] = [];
    try {
      for (let marker: string | undefined, more = true; more; ) {
        const input = { ...this.#address(key), UploadId: uploadId, PartNumberMarker: marker };
        const page = await this.#run((abortSignal) => this.#client.send(new ListPartsCommand(input), { abortSignal }));
        for (const { PartNumber, ETag, Size } of page.Parts ?? []) {
          if (PartNumber === undefined || ETag === undefined || Size === undefined) continue;
          parts.push({ part_number: PartNumber, etag: ETag, size: Size });
        }
        more = page.IsTruncated === true && page.NextPartNumberMarker !== marker;
        marker = page.NextPartNumberMarker;
      }
    } catch (error) {
      if (error instanceof RelayError && readErrorName(error.cause) === 'NoSuchUpload') return undefined;
      throw error;
    }
    return parts;
  }

  async completeUpload(key: string, uploadId: string, parts: readonly UploadedPart[]): Promise<void> {
    checkPartNumbers(parts);
    const command = new CompleteMultipartUploadCommand({
      ...this.#address(key),
      UploadId: uploadId,
      MultipartUpload: { Parts: parts.map((part) => ({ PartNumber: part.part_number, ETag: part.etag })) },
    });
    const timeoutMs = this.#options.completeTimeoutMs ?? 300_000;
    try {
      await this.#run((abortSignal) => this.#client.send(command, { abortSignal }), timeoutMs);
    } catch (error) {
      const name = error instanceof RelayError ? readErrorName(error.cause) : '';
      if (BAD_PARTS.has(name)) throw invalidParts(name, error);
      // It may have been completed before by one who did not hear of it: a retry, or a store that was too slow.
      if (name === 'NoSuchUpload' && (await this.stat(key)) !== undefined) return;
      throw error;
    }
  }

  async abortUpload(key: string, uploadId: string): Promise<void> {
    const command = new AbortMultipartUploadCommand({ ...this.#address(key), UploadId: uploadId });
    try {
      await this.#run((abortSignal) => this.#client.send(command, { abortSignal }));
    } catch (error) {
      if (!(error instanceof RelayError) || readErrorName(error.cause) !== 'NoSuchUpload') throw error;
    }
  }

  /** In the way of the app's endpoint, since it is a download URL that it names. `baseUrl` does not matter here. */
  nameObject(key: string, _baseUrl: string): string {
    const { bucket, region, endpoint, appEndpoint = endpoint, forcePathStyle } = this.#options;
    const base = new URL(appEndpoint ?? `https://s3.${region ?? 'us-east-1'}.amazonaws.com`);
    if (forcePathStyle ?? appEndpoint !== undefined) base.pathname = `${base.pathname.replace(/\/$/, '')}/${bucket}`;
    else base.hostname = `${bucket}.${base.hostname}`;
    return `${stripUserInfo(base).replace(/\/$/, '')}/${this.#prefix}${key}`;
  }

  async signGet(key: string, options: SigningOptions & { readonly filename: string }): Promise<string> {
    const command = new GetObjectCommand({
      ...this.#address(key),
      ResponseContentDisposition: formatAttachment(options.filename),
      ResponseContentType: 'application/octet-stream',
      ResponseCacheControl: 'private, no-store',
    });
    return this.#run(() => getSignedUrl(this.#appSigner, command, { expiresIn: readExpiry(options) }));
  }

  async stat(key: string): Promise<StoredObject | undefined> {
    const command = new HeadObjectCommand(this.#address(key));
    try {
      const { ContentLength, LastModified } = await this.#run((abortSignal) =>
        this.#client.send(command, { abortSignal }),
      );
      return { key, size: ContentLength ?? 0, modifiedAt: LastModified ?? new Date(0) };
    } catch (error) {
      if (error instanceof RelayError && readStatus(error.cause) === 404) return undefined;
      throw error;
    }
  }

  async remove(key: string): Promise<void> {
    const command = new DeleteObjectCommand(this.#address(key));
    await this.#run((abortSignal) => this.#client.send(command, { abortSignal }));
  }

  async *list(): AsyncIterable<StoredObject> {
    let next: string | undefined;
    do {
      const command = new ListObjectsV2Command({ ...this.#listing(), ContinuationToken: next });
      const page = await this.#run((abortSignal) => this.#client.send(command, { abortSignal }));
      for (const { Key, Size, LastModified } of page.Contents ?? []) {
        if (Key === undefined || LastModified === undefined) continue;
        yield { key: Key.slice(this.#prefix.length), size: Size ?? 0, modifiedAt: LastModified };
      }
      next = page.NextContinuationToken;
    } while (next !== undefined);
  }

  /** MinIO lists no uploads by prefix: there this is empty, and what relay began must be remembered elsewhere. */
  async *listUploads(): AsyncIterable<UnfinishedUpload> {
    let marker: { KeyMarker?: string; UploadIdMarker?: string } | undefined = {};
    while (marker !== undefined) {
      const command: ListMultipartUploadsCommand = new ListMultipartUploadsCommand({ ...this.#listing(), ...marker });
      const page = await this.#run((abortSignal) => this.#client.send(command, { abortSignal }));
      for (const { Key, UploadId, Initiated } of page.Uploads ?? []) {
        if (Key === undefined || UploadId === undefined) continue;
        yield { key: Key.slice(this.#prefix.length), uploadId: UploadId, startedAt: Initiated ?? new Date() };
      }
      const { IsTruncated, NextKeyMarker: KeyMarker, NextUploadIdMarker: UploadIdMarker } = page;
      marker =
        IsTruncated === true && KeyMarker !== undefined
          ? { KeyMarker, ...(UploadIdMarker !== undefined && { UploadIdMarker }) }
          : undefined;
    }
  }

  async close(): Promise<void> {
    for (const client of [this.#client, this.#nodeSigner, this.#appSigner]) client.destroy();
  }

  async #createBucket(): Promise<void> {
    const { bucket, region = 'us-east-1' } = this.#options;
    const command = new CreateBucketCommand({
      Bucket: bucket,
      // S3 refuses its own default region here.
      ...(region !== 'us-east-1' && { CreateBucketConfiguration: { LocationConstraint: region as never } }),
    });
    try {
      await this.#run((abortSignal) => this.#client.send(command, { abortSignal }));
    } catch (error) {
      const name = error instanceof RelayError ? readErrorName(error.cause) : '';
      if (name !== 'BucketAlreadyOwnedByYou') throw error;
    }
  }

  #address(key: string): { Bucket: string; Key: string } {
    return { Bucket: this.#options.bucket, Key: `${this.#prefix}${key}` };
  }

  #listing(): { Bucket: string; Prefix: string } {
    return { Bucket: this.#options.bucket, Prefix: `${this.#prefix}${KEY_ROOT}` };
  }

  async #run<T>(action: (signal: AbortSignal) => Promise<T>, timeoutMs = this.#options.timeoutMs ?? 5_000): Promise<T> {
    try {
      return await withDeadline(action, timeoutMs);
    } catch (error) {
      throw this.#error(error);
    }
  }

  #error(thrown: unknown): RelayError {
    const { endpoint, bucket, credentials } = this.#options;
    const where = `${endpoint === undefined ? 's3:/' : stripUserInfo(new URL(endpoint))}/${bucket}`;
    return fromS3Error(thrown, where, [credentials?.secretAccessKey ?? '', credentials?.sessionToken ?? '']);
  }
}

const BAD_PARTS = new Set(['InvalidPart', 'InvalidPartOrder', 'EntityTooSmall', 'MalformedXML']);

function checkPartNumbers(parts: readonly UploadedPart[]): void {
  const wrong = parts.findIndex((part, index) => part.part_number !== index + 1);
  if (parts.length === 0) throw invalidParts('no part is named');
  if (wrong >= 0) throw invalidParts(`part ${wrong + 1} is missing or out of order`);
}

const invalidParts = (problem: string, cause?: unknown): RelayError =>
  new RelayError('invalid_request', `the upload cannot be completed: ${problem}`, { cause });

function readExpiry({ expiresAt }: SigningOptions): number {
  const seconds = Math.ceil((expiresAt.getTime() - Date.now()) / 1000);
  return Math.min(Math.max(seconds, 1), MAX_EXPIRY_SECONDS);
}
