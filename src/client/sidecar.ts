import { constants, ftruncateSync, writeSync } from 'node:fs';
import { type FileHandle, open, unlink } from 'node:fs/promises';
import { isOwnFile } from './file-lock.ts';
import type { Span } from './spans.ts';

/** What a partial file holds. */
export interface PartialRecord {
  /** URL of the dataset at its router. */
  readonly from: string;
  /** Strong entity tag of the dataset, with its quotes. */
  readonly etag: string;
  /** Of the whole, in bytes. */
  readonly size: number;
  /** What is there, in order; null where that is everything up to the end of the file. */
  readonly spans: readonly Span[] | null;
}

const OPEN_FLAGS = constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW;
/** A record that is longer is none of ours. */
const MAX_BYTES = 1024 * 1024;

/** The file beside a partial file that says, in JSON, what that holds. Writing to it fails without a word. */
export class Sidecar {
  readonly #handle: FileHandle;
  readonly #path: string;
  #length = 0;

  private constructor(handle: FileHandle, path: string) {
    this.#handle = handle;
    this.#path = path;
  }

  /** @returns undefined where it is not this user's own. @throws what the system says when it cannot be opened. */
  static async open(path: string): Promise<Sidecar | undefined> {
    const handle = await open(path, OPEN_FLAGS, 0o600);
    if (isOwnFile(await handle.stat())) return new Sidecar(handle, path);
    await handle.close();
    return undefined;
  }

  /** What it says; undefined where that cannot be understood. */
  async read(): Promise<PartialRecord | undefined> {
    const { size } = await this.#handle.stat();
    this.#length = size;
    if (size > MAX_BYTES) return undefined;
    const buffer = Buffer.alloc(size);
    await this.#handle.read(buffer, 0, size, 0);
    try {
      const value: unknown = JSON.parse(buffer.toString());
      return isRecord(value) ? value : undefined;
    } catch {
      return undefined;
    }
  }

  /** Replaces what it says, in one write, so that a kill leaves the one or the other. */
  write(record: PartialRecord): void {
    const text = Buffer.from(`${JSON.stringify(record)}\n`);
    const padded = Buffer.concat([text, Buffer.alloc(Math.max(0, this.#length - text.length), ' ')]);
    try {
      writeSync(this.#handle.fd, padded, 0, padded.length, 0);
      this.#length = padded.length;
    } catch {
      this.clear();
    }
  }

  /** Makes it say nothing. */
  clear(): void {
    try {
      ftruncateSync(this.#handle.fd, 0);
      this.#length = 0;
    } catch {
      // Then it says what it said, which is still true of what it says it about.
    }
  }

  async close(): Promise<void> {
    await this.#handle.close().catch(() => undefined);
  }

  async remove(): Promise<void> {
    await this.close();
    await unlink(this.#path).catch(() => undefined);
  }
}

function isRecord(value: unknown): value is PartialRecord {
  const { from, etag, size, spans } = Object(value) as Record<string, unknown>;
  return (
    typeof from === 'string' &&
    typeof etag === 'string' &&
    isCount(size) &&
    (spans === null || (Array.isArray(spans) && spans.every((span) => isSpan(span)) && areApart(spans)))
  );
}

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;

const isSpan = (value: unknown): value is Span =>
  Array.isArray(value) && value.length === 2 && isCount(value[0]) && isCount(value[1]) && value[0] < value[1];

const areApart = (spans: readonly Span[]): boolean =>
  spans.every(([start], index) => index === 0 || start > (spans[index - 1]?.[1] ?? 0));
