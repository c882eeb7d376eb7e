import { toProblem } from '../http/problem.ts';
import { currentTrace } from '../observability/trace.ts';
import type { RequestState, RequestStatus } from '../protocol/app.ts';
import { RelayError } from '../protocol/errors.ts';
import type { DatasetName } from '../protocol/dataset-name.ts';
import type { OnChange } from '../protocol/fields.ts';
import type { Mac } from '../protocol/mac.ts';
import { RecentMap } from '../recent-map.ts';
import { describeGrowth } from './dataset-answer.ts';

/** How long an ended request is kept where its app will come back for it, in ms. */
const KEEP_MS = 10 * 60_000;
/** How many of the others are kept at least. */
const REMEMBERED_OTHERS = 10_000;

export type RequestKind = 'sync' | 'stream' | 'offload' | 'digest' | 'stat' | 'list';

/** What a request is for, and whose it is. */
interface RequestFields {
  readonly id: string;
  readonly kind: RequestKind;
  readonly mac: Mac;
  readonly dataset: DatasetName;
  /** Default `fail`. */
  readonly onChange?: OnChange | undefined;
  /** For how long the dataset must not have changed, in seconds. Default 0: any. */
  readonly minAgeS?: number | undefined;
  /** Its app comes back for the outcome: it is kept for a while, and outlives the app's connection where it is asynchronous. */
  readonly keep: boolean;
  /** The id of the token that it was made with. */
  readonly tokenId?: string | undefined;
}

/** What has become known of a dataset while a request for it runs. */
interface Progress {
  bytesDone: number;
  totalSize?: number | undefined;
  etag?: string | undefined;
  digest?: string | undefined;
  lastModified?: string | undefined;
  /** How far a dataset that may grow has grown, as far as is known. */
  currentSize?: number | undefined;
}

/** One request of an app, as `GET /requests/{id}` shows it. */
export class RequestRecord implements RequestFields {
  readonly id: string;
  readonly kind: RequestKind;
  readonly mac: Mac;
  readonly dataset: DatasetName;
  readonly onChange: OnChange;
  readonly minAgeS: number;
  readonly keep: boolean;
  readonly tokenId: string | undefined;
  readonly startedAt = performance.now();
  /** Of the trace that its app made it in. */
  readonly traceparent = currentTrace();
  /** When the connector began to answer, on the same clock. */
  beganAt: number | undefined;
  /** What is known so far; asked anew each time, so that transfers need not report every piece. */
  progress: () => Progress = () => ({ bytesDone: 0 });
  /** Makes a fresh URL for the offloaded object, for an app that reaches the router by this base. */
  signUrl: ((baseUrl: string) => Promise<{ url: string; expiresAt: Date | undefined }>) | undefined;
  #state: RequestState = 'waiting';
  #error: RelayError | undefined;
  #abort: ((error: RelayError) => void) | undefined;
  /** Told of the end; most requests have none. */
  #listeners: Set<() => void> | undefined;
  readonly #onEnd: (record: RequestRecord) => void;

  constructor(fields: RequestFields, onEnd: (record: RequestRecord) => void) {
    this.id = fields.id;
    this.kind = fields.kind;
    this.mac = fields.mac;
    this.dataset = fields.dataset;
    this.onChange = fields.onChange ?? 'fail';
    this.minAgeS = fields.minAgeS ?? 0;
    this.keep = fields.keep;
    this.tokenId = fields.tokenId;
    this.#onEnd = onEnd;
  }

  get state(): RequestState {
    return this.#state;
  }

  get error(): RelayError | undefined {
    return this.#error;
  }

  get ended(): boolean {
    return this.#state === 'done' || this.#state === 'failed' || this.#state === 'cancelled';
  }

  /** Says what to do when the request is cancelled. */
  onAbort(abort: (error: RelayError) => void): void {
    this.#abort = abort;
  }

  /** Says what else to do when the request has ended. */
  onceEnded(listener: () => void): void {
    (this.#listeners ??= new Set()).add(listener);
  }

  run(): void {
    if (this.#state !== 'waiting') return;
    this.#state = 'running';
    this.beganAt = performance.now();
  }

  succeed(): void {
    this.#end('done');
  }

  fail(error: RelayError): void {
    if (this.ended) return;
    this.#error = error.with({ request_id: this.id });
    this.#end(error.code === 'cancelled' ? 'cancelled' : 'failed');
  }

  /** Ends the request because its app asked for that or went away. */
  cancel(why: string): void {
    if (this.ended) return;
    const error = new RelayError('cancelled', why, { details: { request_id: this.id } });
    this.#abort?.(error);
    this.fail(error);
  }

  /** Resolves when the request has ended, or after `ms`. */
  async whenEnded(ms: number, signal: AbortSignal): Promise<void> {
    if (this.ended) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const limit = AbortSignal.any([signal, AbortSignal.timeout(ms)]);
    this.onceEnded(resolve);
    limit.addEventListener('abort', () => resolve(), { once: true });
    if (limit.aborted) resolve();
    await promise;
    this.#listeners?.delete(resolve);
  }

  /** The status as JSON. */
  async describe(baseUrl: string): Promise<RequestStatus> {
    const { bytesDone, totalSize, etag, digest, lastModified, currentSize } = this.progress();
    const signed = this.#state === 'done' ? await this.signUrl?.(baseUrl) : undefined;
    return {
      request_id: this.id,
      state: this.#state,
      bytes_done: bytesDone,
      total_size: totalSize ?? null,
      etag: etag ?? null,
      digest: digest ?? null,
      ...(lastModified !== undefined && { last_modified: lastModified }),
      ...describeGrowth(this.onChange, currentSize),
      ...(signed !== undefined && { download_url: signed.url }),
      ...(signed?.expiresAt !== undefined && { expires_at: signed.expiresAt.toISOString() }),
      ...(this.#error !== undefined && { error: toProblem(this.#error) }),
    };
  }

  #end(state: RequestState): void {
    if (this.ended) return;
    // What a transfer held for its progress must not be held for as long as its record.
    const last = this.progress();
    this.progress = () => last;
    this.#abort = undefined;
    this.#state = state;
    this.#onEnd(this);
    const listeners = this.#listeners ?? [];
    this.#listeners = undefined;
    for (const listener of listeners) listener();
  }
}

/** The requests of apps: those that run, and for a while those that have ended. */
export class RequestLog {
  readonly #records = new Map<string, RequestRecord>();
  readonly #others = new RecentMap<string, RequestRecord>(REMEMBERED_OTHERS);
  readonly #kept = new Map<string, number>();
  /** How many run, for each connector that is asked. */
  readonly #running = new Map<Mac, number>();
  #runningTotal = 0;
  readonly #onEnd: (record: RequestRecord) => void;

  constructor(onEnd: (record: RequestRecord) => void) {
    this.#onEnd = onEnd;
  }

  open(fields: RequestFields): RequestRecord {
    const record = new RequestRecord(fields, (ended) => this.#retire(ended));
    this.#records.set(record.id, record);
    this.#count(record.mac, 1);
    return record;
  }

  /** How many have not ended. */
  get running(): number {
    return this.#runningTotal;
  }

  /** Whether one of them is for `mac`. */
  isRunning(mac: Mac): boolean {
    return this.#running.has(mac);
  }

  find(id: string): RequestRecord | undefined {
    this.#expire();
    return this.#records.get(id) ?? this.#others.get(id);
  }

  #count(mac: Mac, change: 1 | -1): void {
    const count = (this.#running.get(mac) ?? 0) + change;
    if (count === 0) this.#running.delete(mac);
    else this.#running.set(mac, count);
    this.#runningTotal += change;
  }

  #retire(record: RequestRecord): void {
    this.#expire();
    this.#count(record.mac, -1);
    if (record.keep) {
      this.#kept.set(record.id, Date.now() + KEEP_MS);
    } else {
      this.#records.delete(record.id);
      this.#others.set(record.id, record);
    }
    this.#onEnd(record);
  }

  #expire(): void {
    const now = Date.now();
    for (const [id, until] of this.#kept) {
      if (until > now) break;
      this.#kept.delete(id);
      this.#records.delete(id);
    }
  }
}
