import type { Stats } from 'node:fs';
import path from 'node:path';
import type { DatasetInfo } from '../protocol/answers.ts';
import { RelayError } from '../protocol/errors.ts';
import { Glob, readLiteralName } from '../protocol/glob.ts';
import type { RelayClient } from './client.ts';
import { readTime } from './content.ts';
import { type Course, downloadFile } from './download-file.ts';
import type { DownloadOptions, DownloadResult, DownloadSummary } from './download-types.ts';
import { EtagIndex } from './etag-index.ts';
import { digestCopy, findCopy, looksCurrent, setTime } from './local-copy.ts';
import { outputError } from './output-error.ts';
import { withRetries } from './retry.ts';
import { Slots } from './slots.ts';
import { TargetDirectory } from './target-directory.ts';
import { foldsCase, splitTargetName, TakenNames } from './target-names.ts';

const NEVER = new AbortController().signal;

/** Whether a text is a pattern for names, and not one name, as it stands or with its pattern's characters escaped. */
export const isGlob = (text: string): boolean => readLiteralName(text) === undefined;

/** A dataset of a connector, and the name of the file that it goes to. */
interface Item {
  readonly mac: string;
  readonly dataset: DatasetInfo;
  readonly name: string;
}

/** Downloads datasets of one connector or of several below one directory, a limited number at a time. */
export class Download implements AsyncDisposable {
  readonly #client: RelayClient;
  readonly #options: DownloadOptions;
  readonly #directory: TargetDirectory | undefined;
  /** Undefined where there is no directory yet, and none is to be made. */
  readonly #index: EtagIndex | undefined;
  readonly #path: string;
  readonly #slots: Slots;
  readonly #taken = new TakenNames();
  readonly #matches: (name: string) => boolean;
  readonly #summary = { fetched: 0, present: 0, planned: 0, skipped: 0, failed: 0, bytes: 0 };
  #foldsCase: Promise<boolean> | undefined;

  private constructor(
    client: RelayClient,
    directory: string,
    opened: { readonly directory: TargetDirectory; readonly index: EtagIndex } | undefined,
    options: DownloadOptions,
  ) {
    this.#client = client;
    this.#options = options;
    this.#path = directory;
    this.#directory = opened?.directory;
    this.#index = opened?.index;
    this.#slots = new Slots(options.parallel ?? 4);
    const { glob } = options;
    const compiled = glob === undefined ? undefined : new Glob(glob);
    this.#matches = (name) => compiled?.matches(name) ?? true;
  }

  /** @throws {RelayError} output_failed when the directory cannot be made or opened. */
  static async open(client: RelayClient, directory: string, options: DownloadOptions): Promise<Download> {
    const { dryRun: readOnly = false, onWarning: onProblem } = options;
    const opened = await TargetDirectory.open(directory, !readOnly);
    const index = opened && (await EtagIndex.open(opened.access, { readOnly, onProblem }));
    return new Download(client, directory, opened && index && { directory: opened, index }, options);
  }

  /** What has become of them until now. */
  get summary(): DownloadSummary {
    return { ...this.#summary };
  }

  /**
   * Downloads what a connector offers and matches. What fails is told and counted, and keeps nothing else from being fetched.
   * @param toName the name of the file for a dataset, relative to the directory.
   * @throws the signal's reason when it fires.
   */
  async run(mac: string, toName: (dataset: string) => string): Promise<void> {
    const { signal } = this.#options;
    const startedAt = Date.now();
    const running = new Set<Promise<void>>();
    try {
      await this.#list(mac, async (dataset) => {
        await this.#slots.acquire(signal);
        const work = this.#one(mac, dataset, toName(dataset.name)).finally(() => {
          this.#slots.release();
          running.delete(work);
        });
        // What it fails with is the signal's reason, which is thrown below.
        work.catch(() => undefined);
        running.add(work);
      });
    } catch (thrown) {
      if (signal?.aborted !== true) {
        const error = RelayError.from(thrown);
        this.#tell({ mac, dataset: undefined, outcome: 'failed', attempts: 1, error, ms: Date.now() - startedAt });
      }
    }
    await Promise.allSettled(running);
    signal?.throwIfAborted();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#index?.close();
    await this.#directory?.[Symbol.asyncDispose]();
  }

  /** Every dataset that matches, once, also where the listing breaks off and is begun again. */
  async #list(mac: string, take: (dataset: DatasetInfo) => Promise<void>): Promise<void> {
    const { signal, glob, minAgeMs, retries = 3, waitMs = 0, onListed, onRetry } = this.#options;
    const seen = new Set<string>();
    const list = async (): Promise<void> => {
      for await (const dataset of this.#client.datasets(mac, { glob, minAgeMs, signal })) {
        if (seen.has(dataset.name) || !this.#matches(dataset.name)) continue;
        seen.add(dataset.name);
        onListed?.({ mac, dataset });
        await take(dataset);
      }
    };
    await withRetries(list, {
      retries,
      waitMs,
      signal: signal ?? NEVER,
      onRetry: (error, delayMs) => onRetry?.(mac, undefined, error, delayMs),
    });
  }

  async #one(mac: string, dataset: DatasetInfo, name: string): Promise<void> {
    const startedAt = Date.now();
    const course: Course = { pattern: undefined, attempts: 0, etag: dataset.etag, requestId: undefined };
    let end: Pick<DownloadResult, 'outcome' | 'size' | 'digest' | 'verified' | 'error'>;
    try {
      end = await this.#bring(mac, dataset, name, course);
    } catch (thrown) {
      this.#options.signal?.throwIfAborted();
      const error = RelayError.from(thrown);
      end = { outcome: error.code === 'dataset_too_recent' ? 'skipped' : 'failed', size: dataset.size, error };
    }
    this.#tell({ mac, dataset: dataset.name, ...course, ...end, ms: Date.now() - startedAt });
  }

  async #bring(
    mac: string,
    dataset: DatasetInfo,
    name: string,
    course: Course,
  ): Promise<Pick<DownloadResult, 'outcome' | 'size' | 'digest' | 'verified'>> {
    const { dryRun = false, platform = process.platform, onStart } = this.#options;
    const parts = splitTargetName(name, platform);
    await this.#take(name);
    const entered = await this.#directory?.enter(parts.slice(0, -1), !dryRun);
    if (entered === undefined) return { outcome: 'planned', size: dataset.size };
    try {
      const file = `${entered.access}/${parts.at(-1)}`;
      const found = await findCopy(file);
      const current = found && (await this.#compare({ mac, dataset, name }, file, found));
      if (current !== undefined) return { outcome: 'present', size: dataset.size, ...current };
      if (dryRun) return { outcome: 'planned', size: dataset.size };
      if (found !== undefined) await this.#index?.outdate(name, { mac, dataset: dataset.name }, found);
      onStart?.({ mac, dataset });
      const receipt = await downloadFile(this.#client, { mac, dataset }, file, course, {
        ...this.#options,
        onSaved: (saved) => this.#note({ mac, dataset, name }, course.etag, saved),
      });
      return { outcome: 'fetched', ...receipt };
    } catch (thrown) {
      throw nameFile(thrown, path.join(this.#path, name));
    } finally {
      await entered.close();
    }
  }

  /** Whether the file is the dataset already; undefined where it is not. */
  async #compare(
    item: Item,
    file: string,
    found: Stats,
  ): Promise<Pick<DownloadResult, 'digest' | 'verified'> | undefined> {
    const { mac, dataset, name } = item;
    const { checksum = false, signal, onChange, minAgeMs } = this.#options;
    if (found.size !== dataset.size) return undefined;
    if (!checksum) {
      const noted = dataset.etag && this.#index?.etagOf(name, { mac, dataset: dataset.name }, found);
      const isCurrent = noted === undefined ? looksCurrent(found, dataset) : noted === dataset.etag;
      return isCurrent ? {} : undefined;
    }
    const [there, here] = await Promise.all([
      this.#client.requestDigest(mac, dataset.name, { signal, onChange, minAgeMs }),
      digestCopy(file, found.size, signal),
    ]).catch((error: unknown) => {
      // Of a node that can give none, all is fetched.
      if (error instanceof RelayError && error.code === 'not_supported') return [undefined, ''] as const;
      throw error;
    });
    if (there?.digest !== here) return undefined;
    await this.#settle(item, file, found, there.etag);
    return { digest: here, verified: true };
  }

  /** Leaves a file that was compared as one that was fetched, so that the next run need not read it. */
  async #settle({ mac, dataset, name }: Item, file: string, found: Stats, etag: string | undefined): Promise<void> {
    const { dryRun, onWarning } = this.#options;
    // What the listing says is of another state than what was compared.
    if (dryRun === true || (etag !== undefined && dataset.etag !== undefined && etag !== dataset.etag)) return;
    const mtime = readTime(dataset.mtime);
    try {
      const isRight = mtime === undefined || looksCurrent(found, dataset);
      const settled = isRight ? found : await setTime(file, found, mtime);
      if (settled !== undefined) this.#note({ mac, dataset, name }, etag, settled);
    } catch (error) {
      const { message } = outputError(error, path.join(this.#path, name));
      onWarning?.(`the time of a file that is the same cannot be set: ${message}`);
    }
  }

  /** @param etag that of what is in the file, as far as it is known. */
  #note({ mac, dataset, name }: Item, etag: string | undefined, saved: Pick<Stats, 'size' | 'mtimeMs'>): void {
    if (dataset.etag === undefined || (etag !== undefined && etag !== dataset.etag)) return;
    this.#index?.note(name, { mac, dataset: dataset.name }, saved, dataset.etag);
  }

  /** @throws {RelayError} output_failed when the name would be that of another file. */
  async #take(name: string): Promise<void> {
    const { dryRun, onWarning } = this.#options;
    const taken = this.#taken.take(name);
    const twins = this.#taken.findTwin(name);
    if (twins !== undefined) {
      onWarning?.(`${differing(...twins)}: where they are copied to, they may become one`);
    }
    if (taken === undefined) return;
    if (taken === name) {
      throw new RelayError('output_failed', `${JSON.stringify(taken)} is the name of another file of this run`);
    }
    const what = differing(name, taken);
    if (dryRun !== true) {
      this.#foldsCase ??= foldsCase(this.#path);
      if (await this.#foldsCase) throw new RelayError('output_failed', `${what}, and are one file here`);
    }
    onWarning?.(`${what}: where they are copied to, they may become one file`);
  }

  #tell(result: DownloadResult): void {
    this.#summary[result.outcome] += 1;
    if (result.outcome === 'fetched' || result.outcome === 'planned') this.#summary.bytes += result.size ?? 0;
    this.#options.onResult?.(result);
  }
}

const differing = (one: string, other: string): string =>
  `${JSON.stringify(one)} and ${JSON.stringify(other)} differ in letters' case or composition only`;

/** The error, with the path that people know in place of the one by which the file was reached. */
function nameFile(thrown: unknown, shown: string): unknown {
  if (!(thrown instanceof RelayError)) return isOfSystem(thrown) ? outputError(thrown, shown) : thrown;
  if (thrown.code !== 'output_failed') return thrown;
  if (isOfSystem(thrown.cause)) return outputError(thrown.cause, shown);
  return new RelayError('output_failed', `cannot write ${JSON.stringify(shown)}: ${thrown.message}`, { cause: thrown });
}

const isOfSystem = (error: unknown): boolean => error instanceof Error && 'syscall' in error;
