import { createWriteStream } from 'node:fs';
import { once } from 'node:events';
import { resolve } from 'node:path';
import type { Writable } from 'node:stream';
import { finished } from 'node:stream/promises';
import { type DownloadResult, outputError } from '../../files.ts';
import { digestToHex } from '../../http/digest.ts';
import type { Io } from '../io.ts';

/** A file with a line of JSON for each of many datasets, written as they come to their end. */
export class Report implements AsyncDisposable {
  readonly #stream: Writable;
  readonly #path: string;
  readonly #isOwn: boolean;
  #error: unknown;

  private constructor(stream: Writable, path: string, isOwn: boolean) {
    this.#stream = stream;
    this.#path = path;
    this.#isOwn = isOwn;
    stream.on('error', this.#onError);
  }

  /** Begins it anew; `-` is standard output. @throws {RelayError} output_failed when it cannot be written. */
  static async open(path: string, { stdout, surroundings }: Io): Promise<Report> {
    if (path === '-') return new Report(stdout, 'standard output', false);
    const file = createWriteStream(resolve(surroundings.cwd, path));
    await once(file, 'open').catch((cause: unknown) => {
      throw outputError(cause, path);
    });
    return new Report(file, path, true);
  }

  /** Adds a line. */
  add(result: DownloadResult): void {
    if (this.#error === undefined) this.#stream.write(`${JSON.stringify(toLine(result))}\n`);
  }

  /** Resolves when every line is written. @throws {RelayError} output_failed when one was not. */
  async end(): Promise<void> {
    if (this.#isOwn && this.#error === undefined) {
      this.#stream.end();
      await finished(this.#stream).catch(this.#onError);
    }
    if (this.#error !== undefined) throw outputError(this.#error, this.#path);
  }

  /** Writes what is left, also where the work was broken off. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.end().catch(() => undefined);
    this.#stream.removeListener('error', this.#onError);
  }

  readonly #onError = (error: unknown): void => {
    this.#error ??= error;
  };
}

function toLine(result: DownloadResult): object {
  const { mac, dataset, outcome, size, etag, digest, verified, pattern, attempts, error, requestId, ms } = result;
  return {
    mac,
    dataset: dataset ?? null,
    outcome,
    code: error?.code ?? null,
    size: size ?? null,
    etag: etag ?? null,
    sha256: digest === undefined ? null : digestToHex(digest),
    verified: verified ?? null,
    pattern: pattern ?? null,
    attempts,
    request_id: requestId ?? error?.details.request_id ?? null,
    ms,
    ...(error !== undefined && { error: error.message }),
  };
}
