import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Logger } from '../../observability/logger.ts';
import type { DatasetInfo } from '../../protocol/answers.ts';
import type { OffloadAnswer } from '../../protocol/app.ts';
import { RelayError } from '../../protocol/errors.ts';
import type { ObjectIndex, ResumableUpload } from '../../store/object-index.ts';
import type { ObjectStore } from '../../store/object-store.ts';
import type { Context } from '../context.ts';
import type { DatasetName } from '../../protocol/dataset-name.ts';
import type { Mac } from '../../protocol/mac.ts';
import type { Link } from '../links/link.ts';
import { describeGrowth, explainFailure, factsOf, type Wanted } from '../dataset-answer.ts';
import { sendJson } from '../reply.ts';
import type { RequestRecord } from '../request-log.ts';
import { askStat } from './catalog.ts';
import { holdToAge } from './min-age.ts';
import { holdToPrefix } from './on-change.ts';
import { type Offloaded, Upload, type Waiter } from './upload.ts';

export interface OffloadsOptions {
  readonly store: ObjectStore;
  readonly index: ObjectIndex;
  /** Resolves once the store can be used. */
  readonly ready: () => Promise<void>;
  readonly urlTtlMs: number;
  /** Origins on which a node's own URL is handed out. */
  readonly offloadOrigins: readonly string[];
  /** The operator named the store. */
  readonly isChosen: boolean;
  readonly logger: Logger;
}

/** How a dataset is to be offloaded. */
export interface OffloadWishes extends Pick<Wanted, 'ifMatch' | 'isLooked' | 'admit'> {
  /** An earlier upload does not count. */
  readonly fresh: boolean;
  /** Have the node compute the SHA-256 of the whole. What an earlier upload or another request brought is given in any case. */
  readonly wantDigest: boolean;
  /** What a browser saves it as; the dataset's own name where it is empty. */
  readonly filename?: string;
}

/** Whether what was kept shall not be used (RFC 9111 §5.2.1.4). */
export const wantsFresh = ({ headers }: IncomingMessage): boolean =>
  /(?:^|,)\s*no-cache\s*(?:,|$)/i.test(headers['cache-control'] ?? '');

/** Pattern C: the connector puts the dataset into a store, and the app gets a URL to take it from there. */
export class Offloads {
  readonly #options: OffloadsOptions | undefined;
  readonly #uploads = new Map<string, Upload>();
  /** Uploads that a request for the same content joins, by MAC, name and entity tag. */
  readonly #joinable = new Map<string, Upload>();

  /** Removals of what failed uploads have left. */
  readonly #discarding = new Set<Promise<void>>();

  /** @param options undefined for a router without a store. */
  constructor(options: OffloadsOptions | undefined) {
    this.#options = options;
  }

  /** Resolves once nothing of a failed upload is still being removed. The uploads must have ended before. */
  async close(): Promise<void> {
    await Promise.all(this.#discarding);
  }

  /** Whether there is a store that apps may be led to without asking for it. */
  get isChosen(): boolean {
    return this.#options?.isChosen === true;
  }

  /** Whether this version of a dataset was uploaded. What the store lost since is found out when it is asked for. */
  holds(mac: Mac, dataset: DatasetName, etag: string): boolean {
    return this.#options?.index.find(mac, dataset, etag) !== undefined;
  }

  /** Whether an upload to this key is under way. */
  isActive(key: string): boolean {
    return this.#uploads.has(key);
  }

  /** The file store took in bytes for this key. */
  noteBytes(key: string, bytes: number): void {
    this.#uploads.get(key)?.noteBytes(bytes);
  }

  /**
   * Makes a dataset available for download: from an earlier upload of the same content, by joining one under way, or by a
   * new one. The record ends with the outcome; cancelling it stops the upload only when nobody else waits for it.
   */
  async offload(context: Context, record: RequestRecord, baseUrl: string, wishes: OffloadWishes): Promise<void> {
    try {
      if (this.#options === undefined) {
        throw new RelayError('offload_unavailable', 'this router has no store (--store none); use request-stream');
      }
      if (context.registry.findLinkOf(record.mac)?.hello.capabilities.has('no-offload') === true) throw refusedByNode();
      await this.#options.ready();
      const stat = await this.#stat(context, record, wishes.ifMatch);
      if (record.ended) return;
      wishes.admit?.(stat === undefined ? {} : factsOf(stat));
      const etag = wishes.fresh ? undefined : stat?.etag;
      const stored = etag === undefined ? undefined : await this.#findStored(this.#options, record, etag);
      if (record.ended) return;
      const result = stored ?? (await this.#join(this.#options, context, record, stat, wishes.wantDigest));
      const { size = 0, etag: tag, digest, lastModified, currentSize = stat?.current_size } = result;
      const facts = { totalSize: result.size, etag: tag, digest, lastModified, currentSize };
      record.progress = () => ({ bytesDone: size, ...facts });
      record.signUrl = (base) => this.#sign(result, wishes.filename || record.dataset, base);
      // Handing out a first URL keeps the object while the app is on its way to it.
      await record.signUrl(baseUrl);
      record.succeed();
    } catch (thrown) {
      record.fail(explainFailure(RelayError.from(thrown), wishes));
    }
  }

  /** Answers an app that waited for an offload that is done. */
  async answer(record: RequestRecord, baseUrl: string, response: ServerResponse): Promise<void> {
    const status = await record.describe(baseUrl);
    const { download_url, expires_at, total_size, etag, digest, last_modified, current_size } = status;
    const answer: OffloadAnswer = {
      status: 'success',
      download_url: download_url as string,
      ...(expires_at !== undefined && { expires_at }),
      ...(total_size !== null && { size: total_size }),
      ...(etag !== null && { etag }),
      ...(digest !== null && { digest }),
      ...(last_modified !== undefined && { last_modified }),
      ...describeGrowth(record.onChange, current_size),
    };
    sendJson(response, 200, answer);
  }

  /** What the dataset is now, where the connector can say; for others every request is an upload of its own. */
  async #stat(context: Context, record: RequestRecord, ifMatch: string | undefined): Promise<DatasetInfo | undefined> {
    const link = context.registry.findLink(record.mac);
    if (link !== undefined && !link.hello.capabilities.has('stat')) return undefined;
    const abort = new AbortController();
    record.onAbort((error) => abort.abort(error));
    try {
      const { mac, dataset, onChange, minAgeS } = record;
      // Of a dataset that grows, the tag says how much of it is meant.
      const version = { minAgeS, ...(onChange === 'prefix' && { onChange, ifMatch }) };
      return await askStat(context, mac, dataset, abort.signal, version);
    } catch (error) {
      // It was away when it was asked, and came back as one that cannot tell.
      if (RelayError.from(error).code === 'not_supported') return undefined;
      throw error;
    }
  }

  async #findStored(
    { store, index }: OffloadsOptions,
    record: RequestRecord,
    etag: string,
  ): Promise<Offloaded | undefined> {
    const row = index.find(record.mac, record.dataset, etag);
    if (row === undefined) return undefined;
    const object = await store.stat(row.key);
    if (object?.size !== row.size) {
      index.remove(row.key);
      return undefined;
    }
    return {
      key: row.key,
      url: undefined,
      size: row.size,
      etag,
      digest: row.digest ?? undefined,
      lastModified: row.lastModified ?? undefined,
      currentSize: undefined,
    };
  }

  #join(
    options: OffloadsOptions,
    context: Context,
    record: RequestRecord,
    stat: DatasetInfo | undefined,
    wantDigest: boolean,
  ): Promise<Offloaded> {
    const identity = stat?.etag === undefined ? undefined : `${record.mac}\n${record.dataset}\n${stat.etag}`;
    return new Promise<Offloaded>((resolve, reject) => {
      const upload =
        this.#joinable.get(identity ?? '') ?? this.#begin(options, context, record, { stat, identity, wantDigest });
      const waiter: Waiter = { done: resolve, fail: reject };
      upload.waiters.add(waiter);
      record.progress = () => ({ bytesDone: upload.bytesDone, totalSize: upload.totalSize, etag: stat?.etag });
      record.onAbort((error) => {
        upload.leave(waiter, error);
        reject(error);
      });
      record.run();
      // Submitting a command may fail it before anybody waits for it.
      if (upload.error !== undefined) reject(upload.error);
    });
  }

  #begin(
    options: OffloadsOptions,
    context: Context,
    record: RequestRecord,
    {
      stat,
      identity,
      wantDigest,
    }: {
      readonly stat: DatasetInfo | undefined;
      readonly identity: string | undefined;
      readonly wantDigest: boolean;
    },
  ): Upload {
    const { store, index, urlTtlMs } = options;
    const source = stat?.etag === undefined ? undefined : { mac: record.mac, dataset: record.dataset, etag: stat.etag };
    const resumed = source === undefined ? undefined : this.#findUnfinished(options, source);
    const passage = context.nodeLines.follow(record.mac, 'upload', stat?.size);
    const noteRate = (result: Offloaded | RelayError, { bytesStored }: Upload): void => {
      if (result instanceof RelayError || result.key === undefined) return;
      passage?.carry((result.size ?? 0) - bytesStored);
      passage?.end();
    };
    const upload = new Upload({
      store,
      mac: record.mac,
      stat,
      urlTtlMs,
      allowsUrl: (url) => options.offloadOrigins.includes(new URL(url).origin),
      resumed,
      onParts: ({ key }, parts) => {
        if (source === undefined) index.beginUpload(key, parts.uploadId);
        else index.noteResumable({ ...source, ...parts, key });
      },
      onEnd: (ended, result) => {
        this.#uploads.delete(ended.key);
        noteRate(result, ended);
        if (identity !== undefined) this.#joinable.delete(identity);
        if (result instanceof RelayError) {
          if (source !== undefined && ended.parts !== undefined && mayGoOn(result)) {
            // Its age counts from now.
            index.noteResumable({ ...source, ...ended.parts, key: ended.key });
          } else this.#discard(options, ended.key, () => ended.discard());
          return;
        }
        if (result.key !== undefined) {
          const { key, size = 0, etag = '', digest = null, lastModified = null } = result;
          index.add({ key, mac: record.mac, dataset: record.dataset, etag, size, digest, lastModified });
        }
        index.endUpload(ended.key);
      },
    });
    this.#uploads.set(upload.key, upload);
    if (identity !== undefined) this.#joinable.set(identity, upload);
    if (resumed === undefined) index.beginUpload(upload.key);
    else {
      index.noteResumable(resumed);
      options.logger.info(
        { request_id: record.id, mac: record.mac, dataset: record.dataset, key: upload.key },
        'an unfinished upload is gone on with',
      );
    }
    // A connector shows that it is at it by what it reports, or by what the router's own store sees of it.
    const showsLife = ({ hello }: Link): boolean => store.kind === 'file' || hello.capabilities.has('progress');
    upload.attach(
      context.dispatcher.submit({
        id: record.id,
        mac: record.mac,
        name: 'get_dataset_offload',
        command: async (link) => ({
          command: 'get_dataset_offload',
          request_id: record.id,
          dataset_name: record.dataset,
          ...holdToPrefix(link.hello, record.onChange),
          ...holdToAge(link.hello, record.minAgeS),
          ...(stat?.etag !== undefined && { if_match: stat.etag }),
          ...(link.hello.capabilities.has('digest') && { want_digest: wantDigest }),
          upload: await upload.signTarget(link),
        }),
        resend: 'always',
        beginTimeoutMs: (link) => (showsLife(link) ? context.options.firstByteTimeoutMs : urlTtlMs),
        silenceTimeoutMs: (link) => (showsLife(link) ? context.options.silenceTimeoutMs : urlTtlMs),
        answer: upload,
      }),
    );
    return upload;
  }

  /** The upload of this content that stopped. What others of the dataset have left is of no use any more. */
  #findUnfinished(
    options: OffloadsOptions,
    { mac, dataset, etag }: { mac: string; dataset: string; etag: string },
  ): ResumableUpload | undefined {
    const { store, index } = options;
    const left = index.findResumable(mac, dataset).filter(({ key }) => !this.#uploads.has(key));
    const same = left.find((upload) => upload.etag === etag);
    for (const { key, uploadId } of left) {
      if (key !== same?.key) this.#discard(options, key, () => store.abortUpload(key, uploadId));
    }
    return same;
  }

  #discard({ index, logger }: OffloadsOptions, key: string, remove: () => Promise<void>): void {
    // At once: the next request must not go on with what is about to go.
    index.giveUpUpload(key);
    const discarding = remove()
      .then(() => index.endUpload(key))
      .catch((error: unknown) => {
        index.abandonUpload(key);
        logger.warn({ key, err: error }, 'an unfinished upload could not be removed yet');
      })
      .finally(() => this.#discarding.delete(discarding));
    this.#discarding.add(discarding);
  }

  async #sign(
    { key, url }: Offloaded,
    name: string,
    baseUrl: string,
  ): Promise<{ url: string; expiresAt: Date | undefined }> {
    if (key === undefined) return { url: url as string, expiresAt: undefined };
    const { store, index, urlTtlMs } = this.#options as OffloadsOptions;
    const expiresAt = new Date(Date.now() + urlTtlMs);
    const filename = name.slice(name.lastIndexOf('/') + 1);
    const signed = await store.signGet(key, { expiresAt, baseUrl, filename });
    index.touch(key, { usedAt: new Date(), urlExpiresAt: expiresAt });
    return { url: signed, expiresAt };
  }
}

const refusedByNode = (): RelayError =>
  new RelayError('offload_unavailable', 'this node gives nothing to a store (--no-offload); use request-stream');

/** Whether the parts of an upload that failed so are worth keeping for who asks again: nobody wanted it to end. */
const mayGoOn = ({ retryable, code }: RelayError): boolean => retryable && code !== 'dataset_changed';
