import type { DatasetInfo } from '../protocol/answers.ts';
import {
  type ConnectorInfo,
  connectorInfo,
  connectorList,
  type DigestAnswer,
  type OffloadAnswer,
  offloadAnswer,
  type RequestStatus,
  type SignedUrl,
  type SyncAnswer,
  signedUrl,
  syncAnswer,
} from '../protocol/app.ts';
import { encodeDatasetPath, parseDatasetName } from '../protocol/dataset-name.ts';
import { RelayError } from '../protocol/errors.ts';
import { MAX_LIST_LIMIT } from '../protocol/limits.ts';
import { parseMac } from '../protocol/mac.ts';
import type { CallOptions } from './call-options.ts';
import type { Known } from './content.ts';
import {
  PREFER_LENGTH,
  type DatasetResponse,
  readDatasetResponse,
  type ResponseContext,
  resumeDataset,
} from './dataset-response.ts';
import { type DatasetStat, statDataset } from './dataset-stat.ts';
import { type DatasetPrefix, type DatasetsOptions, type DirectoryOptions, listDatasets } from './list.ts';
import { type AgeOptions, requireMinAge, toMinAge } from './min-age.ts';
import { checked, type OpenedDataset, type OpenOptions, openPart } from './open.ts';
import { requestDigest } from './request-digest.ts';
import { requirePrefix, type Subject, type VersionOptions } from './subject.ts';
import { cancel, fetchStatus, type PollOptions, runAsync } from './long-poll.ts';
import { Transport, type TransportOptions } from './transport.ts';

/** How to reach the router. */
export type RelayClientOptions = TransportOptions;

/** What a request for a signed URL takes. */
export interface SignOptions extends CallOptions {
  /** For how many seconds the URL is to be good, at most seven days. By default as long as the router has it, which is an hour. */
  readonly expiresIn?: number | undefined;
}

/** What a request that is answered in JSON takes to name a version. */
interface MatchOptions extends VersionOptions {
  /** The entity tag that the dataset must have; with `onChange`, which of its beginnings is meant. Default any. */
  readonly ifMatch?: string | undefined;
}

/** What a request for a digest takes. */
export interface DigestOptions extends PollOptions, MatchOptions {}

/** Which connectors to list. */
export interface ConnectorsOptions extends CallOptions {
  /** Only those that have all of these labels. */
  readonly labels?: Readonly<Record<string, string>> | undefined;
  /** Only those that are there, or those that are not. */
  readonly state?: ConnectorInfo['state'] | undefined;
}

/** What a request for the bytes of a dataset takes. */
export interface DatasetOptions extends CallOptions, VersionOptions {
  /** Ask for the digest of the whole, which costs the node a pass of SHA-256. Default true. */
  readonly wantDigest?: boolean | undefined;
  /** Told when the bytes broke off after `offset` of them, before they go on from there. */
  readonly onInterruption?: ((error: RelayError, offset: number) => void) | undefined;
}

/** What a request for a URL of a dataset takes. */
export interface OffloadOptions extends PollOptions, MatchOptions {
  /** Have the dataset uploaded anew, though the store has it already: what is there is not what it should be. Default false. */
  readonly fresh?: boolean | undefined;
  /** Ask for the digest of the whole, which costs the node a pass of SHA-256. Default true. */
  readonly wantDigest?: boolean | undefined;
}

/** What a request for a stream takes. */
export interface StreamOptions extends DatasetOptions {
  /** What is there already. The rest is asked for; where the dataset is another by now, all of it from the beginning. */
  readonly known?: Known | undefined;
  /**
   * Over how many connections a large dataset may come where the router is far away: as many are used as bring something.
   * What has come ahead of its turn is up to 64 MiB of memory. Default 16; 1 for one alone.
   */
  readonly parallel?: number | undefined;
}

/** What a question about a dataset takes. */
export interface StatOptions extends CallOptions, AgeOptions {}

/** How many connections for one dataset at most. */
const MAX_PARALLEL = 16;

/**
 * The app's side of relay: asks a router for datasets on machines that nobody can reach. It needs nothing but `fetch`.
 * Every method throws RelayError; `code` tells the cases apart and `retryable` says whether asking again may help.
 */
export class RelayClient {
  readonly #transport: Transport;

  /** @throws {RelayError} usage when `baseUrl` is no http(s) URL, or `token` would travel in the clear to another machine. */
  constructor(options: RelayClientOptions) {
    this.#transport = new Transport(options);
  }

  /** The router's base URL, with a slash at its end. */
  get baseUrl(): string {
    return this.#transport.baseUrl.href;
  }

  /** The URL of a dataset at its router, which names it wherever it goes. */
  datasetUrl(mac: string, dataset: string): string {
    return new URL(`connectors/${checkMac(mac)}/datasets/${encodeDatasetPath(checkDataset(dataset))}`, this.baseUrl)
      .href;
  }

  /** Every connector that the router has seen, or those of them that are asked for, page by page as they are read. */
  async *connectors(options: ConnectorsOptions = {}): AsyncGenerator<ConnectorInfo, void, undefined> {
    const { labels = {}, state, signal } = options;
    const label = Object.entries(labels).map(([key, value]) => `${key}=${value}`);
    // A router that is older than these parameters lists all.
    const isWanted = (connector: ConnectorInfo): boolean =>
      (state === undefined || connector.state === state) &&
      Object.entries(labels).every(([key, value]) => connector.labels[key] === value);
    for (let cursor: string | undefined, more = true; more; ) {
      const query = { limit: MAX_LIST_LIMIT, cursor, label, state };
      const response = await this.#transport.send({ method: 'GET', path: 'connectors', query, signal });
      const page = await this.#transport.readJson(response, connectorList, signal);
      yield* page.connectors.filter(isWanted);
      more = page.next !== undefined && page.next !== cursor;
      cursor = page.next;
    }
  }

  /** One connector. @throws {RelayError} connector_not_found when the router never saw it. */
  async connector(mac: string, { signal }: CallOptions = {}): Promise<ConnectorInfo> {
    const response = await this.#transport.send({ method: 'GET', path: `connectors/${checkMac(mac)}`, signal });
    return this.#transport.readJson(response, connectorInfo, signal);
  }

  /** The datasets that a connector offers, in order of name, page by page as they are read. */
  datasets(mac: string, options?: DatasetsOptions): AsyncGenerator<DatasetInfo, void, undefined>;
  /** With a delimiter also what names with another one beyond the prefix begin with, once for all of them. */
  datasets(mac: string, options: DirectoryOptions): AsyncGenerator<DatasetInfo | DatasetPrefix, void, undefined>;
  async *datasets(
    mac: string,
    options: DatasetsOptions | DirectoryOptions = {},
  ): AsyncGenerator<DatasetInfo | DatasetPrefix, void, undefined> {
    yield* listDatasets(this.#transport, checkMac(mac), options);
  }

  /**
   * A URL by which whoever holds it gets this one dataset without a token, until `expires_at`, and no longer than the token of
   * this client is good. The router signs it; the node is not asked, so the dataset need not be there.
   */
  async signedUrl(mac: string, dataset: string, { expiresIn, signal }: SignOptions = {}): Promise<SignedUrl> {
    const json = { mac: checkMac(mac), dataset: checkDataset(dataset), expires_in: expiresIn };
    const response = await this.#transport.send({ method: 'POST', path: 'datasets/sign', json, signal });
    return this.#transport.readJson(response, signedUrl, signal);
  }

  /** Size, type and version of a dataset, without its bytes. */
  stat(mac: string, dataset: string, options: StatOptions = {}): Promise<DatasetStat> {
    return statDataset(this.#transport, checkMac(mac), checkDataset(dataset), options);
  }

  /**
   * Pattern A: the whole dataset in one JSON answer.
   * @throws {RelayError} dataset_too_large above the router's limit; request_timeout, not retryable, where a gateway in
   * between does not allow the silence until the router has it all; dataset_too_recent where it is younger than `minAgeMs`;
   * not_supported where `onChange` or `minAgeMs` cannot be had.
   */
  async requestSync(mac: string, dataset: string, options: DatasetOptions = {}): Promise<SyncAnswer> {
    const response = await this.#requestWhole(mac, dataset, options);
    return requirePrefix(await this.#transport.readJson(response, syncAnswer, options.signal), options.onChange);
  }

  /** Pattern A: the bytes, which the router sends when it has them all. @throws {RelayError} dataset_too_large as above. */
  async requestSyncBytes(mac: string, dataset: string, options: DatasetOptions = {}): Promise<DatasetResponse> {
    const accept = { Accept: 'application/octet-stream' };
    const response = await this.#requestWhole(mac, dataset, options, accept);
    return this.#read(response, mac, dataset, options);
  }

  /**
   * Pattern B: the bytes as the node sends them. The node reads no faster than the body is read. Where they break off they go
   * on by ranges of the same dataset, for up to a minute without a byte; they are never mixed from two versions. From far away
   * a large one comes by several connections at once, see `parallel`.
   * @returns the whole, or with `known` what is missing of it: `offset` tells.
   */
  async requestStream(mac: string, dataset: string, options: StreamOptions = {}): Promise<DatasetResponse> {
    const { known, wantDigest = true, parallel = MAX_PARALLEL } = options;
    const context = { ...this.#context(mac, dataset, options), parallel, wantDigest };
    const rest = known && (await resumeDataset(context, known, options));
    if (rest !== undefined) return rest;
    const response = await this.#request('datasets/request-stream', mac, dataset, options, {
      ...(wantDigest && { Prefer: PREFER_LENGTH }),
    });
    return readDatasetResponse(response, context);
  }

  /**
   * Opens a dataset, or the part of it from `offset` on, by pattern B: an async iterable, whose `body` is the same as a stream.
   * What breaks off goes on as in `requestStream`, within the part. It ends with an error unless it is all that was asked
   * for, and, of a whole dataset, agrees with its digest.
   * @throws {RelayError} range_not_satisfiable where the dataset ends before `offset`; not_supported where its node can send no
   * parts, or `onChange` or `minAgeMs` cannot be had; precondition_failed where it is not the version that `etag` names.
   */
  async open(mac: string, dataset: string, options: OpenOptions = {}): Promise<OpenedDataset> {
    const { offset = 0, length, etag, signal, verify = true, requireDigest = false, onChange, minAgeMs } = options;
    const context = this.#context(mac, dataset, options);
    if (offset !== 0 || length !== undefined) {
      return checked(await openPart(context, { offset, length, etag, minAgeMs }), { verify, requireDigest });
    }
    const wantDigest = verify || requireDigest;
    const response = await this.#request(
      'datasets/request-stream',
      mac,
      dataset,
      { signal, wantDigest, onChange, minAgeMs },
      {
        ...(wantDigest && { Prefer: PREFER_LENGTH }),
        ...(etag !== undefined && { 'If-Match': etag }),
      },
    );
    return checked(await readDatasetResponse(response, context), { verify, requireDigest });
  }

  /**
   * Pattern C: lets the node upload the dataset to the store and resolves to the URL it can be had from, until
   * `expires_at`. A digest that was asked for is missing only where the node can give none now. The request is asynchronous, so no idle limit on the way ends a long upload; when the signal fires it is
   * cancelled at the router.
   * @throws {RelayError} dataset_changed when `ifMatch` is given and it is another by now.
   */
  async requestOffload(mac: string, dataset: string, options: OffloadOptions = {}): Promise<OffloadAnswer> {
    const { fresh = false, wantDigest = true } = options;
    const answer = await this.#offload(mac, dataset, options, {
      ...(fresh && { 'Cache-Control': 'no-cache' }),
      ...(wantDigest && WANT_DIGEST),
    });
    if (answer.digest !== undefined || !wantDigest) return answer;
    // What is in the store was sent there for somebody who did not want one.
    const { signal, onChange } = options;
    const version = onChange === 'prefix' ? { onChange, ifMatch: answer.etag } : {};
    const found = await this.requestDigest(mac, dataset, { signal, ...version }).catch(() => {
      signal?.throwIfAborted();
      // The object is there, also while its node is away.
      return undefined;
    });
    const isSame = found !== undefined && found.etag === answer.etag && found.size === answer.size;
    return isSame ? { ...answer, digest: found.digest } : answer;
  }

  /** Pattern C: the URL alone, good for whoever has it until it expires. `requestOffload` tells more. */
  async offloadUrl(mac: string, dataset: string, options: OffloadOptions = {}): Promise<string> {
    return (await this.requestOffload(mac, dataset, { wantDigest: false, ...options })).download_url;
  }

  async #offload(
    mac: string,
    dataset: string,
    options: OffloadOptions,
    headers: Record<string, string>,
  ): Promise<OffloadAnswer> {
    const subject = toSubject(mac, dataset, options);
    const outcome = await runAsync(this.#transport, 'datasets/request-offload', subject, { ...options, headers });
    if ('response' in outcome) {
      const answer = await this.#transport.readJson(outcome.response, offloadAnswer, options.signal);
      return requirePrefix(answer, options.onChange);
    }
    const end = requirePrefix(outcome.status, options.onChange);
    if (end.download_url === undefined) {
      throw new RelayError('internal', 'the request is done, but the router gave no URL', {
        details: { request_id: end.request_id },
      });
    }
    return {
      status: 'success',
      download_url: end.download_url,
      ...(end.expires_at !== undefined && { expires_at: end.expires_at }),
      ...(end.total_size !== null && { size: end.total_size }),
      ...(end.etag !== null && { etag: end.etag }),
      ...(end.digest !== null && { digest: end.digest }),
      ...(end.last_modified !== undefined && { last_modified: end.last_modified }),
      ...(end.on_change !== undefined && { on_change: end.on_change }),
      ...(end.current_size !== undefined && { current_size: end.current_size }),
    };
  }

  /** Size, ETag and SHA-256 of a dataset, for which the node reads all of it. @throws {RelayError} not_supported when it cannot. */
  requestDigest(mac: string, dataset: string, options: DigestOptions = {}): Promise<DigestAnswer> {
    return requestDigest(this.#transport, toSubject(mac, dataset, options), options);
  }

  /** The router's metrics, in the text form of Prometheus. Needs a token of a monitor where the router asks for tokens. */
  async metrics({ signal }: CallOptions = {}): Promise<string> {
    return (await this.#transport.send({ method: 'GET', path: 'metrics', signal })).text();
  }

  /** Where a request stands; with `waitSeconds` (at most 60), as soon as it has ended or that time is over. */
  requestStatus(id: string, options: CallOptions & { readonly waitSeconds?: number } = {}): Promise<RequestStatus> {
    return fetchStatus(this.#transport, id, options);
  }

  /** Cancels a request; one that has ended stays as it is. @throws {RelayError} request_gone when the router knows it no more. */
  cancelRequest(id: string, { signal }: CallOptions = {}): Promise<void> {
    return cancel(this.#transport, id, signal);
  }

  #read(response: Response, mac: string, dataset: string, options: DatasetOptions): Promise<DatasetResponse> {
    return readDatasetResponse(response, this.#context(mac, dataset, options));
  }

  #context(
    mac: string,
    dataset: string,
    { signal, onInterruption, onChange }: Pick<DatasetOptions, 'signal' | 'onInterruption' | 'onChange'>,
  ): ResponseContext {
    const subject = { mac: checkMac(mac), dataset: checkDataset(dataset) };
    return { transport: this.#transport, ...subject, signal, onInterruption, onChange };
  }

  /** A request that is silent until the router has all of the dataset: a gateway that ends silence does so every time. */
  async #requestWhole(
    mac: string,
    dataset: string,
    options: DatasetOptions,
    headers?: Record<string, string>,
  ): Promise<Response> {
    try {
      return await this.#request('datasets/request-sync', mac, dataset, options, headers);
    } catch (error) {
      if (!(error instanceof RelayError) || error.details.gateway_status === undefined) throw error;
      const { retry_after: _retryAfter, ...details } = error.details;
      throw new RelayError('request_timeout', error.message, {
        cause: error,
        details: { ...details, retryable: false },
      });
    }
  }

  async #request(
    path: string,
    mac: string,
    dataset: string,
    options: DatasetOptions,
    headers: Record<string, string> = {},
  ): Promise<Response> {
    const { signal, wantDigest = true } = options;
    const json = toSubject(mac, dataset, options);
    const response = await this.#transport.send({
      method: 'POST',
      path,
      json,
      headers: {
        ...headers,
        'Accept-Encoding': this.#transport.codings,
        ...(wantDigest && WANT_DIGEST),
      },
      signal,
    });
    return requireMinAge(response, json);
  }
}

/** What is verified is the dataset, however it is coded on the way. */
const WANT_DIGEST = { 'Want-Repr-Digest': 'sha-256=1', 'Want-Unencoded-Digest': 'sha-256=1' };

/** What the four requests are about, as JSON. */
const toSubject = (mac: string, dataset: string, { onChange, minAgeMs }: VersionOptions): Subject => ({
  mac: checkMac(mac),
  dataset: checkDataset(dataset),
  ...(onChange === 'prefix' && { on_change: onChange }),
  ...toMinAge({ minAgeMs }),
});

const checkMac = (text: string): string => check(parseMac(text));
const checkDataset = (name: string): string => check(parseDatasetName(name));

function check<T extends string>(value: T | RelayError): T {
  if (value instanceof RelayError) throw value;
  return value;
}
