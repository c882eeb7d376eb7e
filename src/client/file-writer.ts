import type { Hash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { createDigest, finishDigest } from '../http/digest.ts';
import { freePiece } from '../http/free-piece.ts';
import type { Span } from './spans.ts';
import type { Received } from './verify.ts';

/** Small pieces are gathered up to this many bytes before they are written. */
const BATCH_BYTES = 1024 * 1024;
const READ_BACK_BYTES = 1024 * 1024;

/** The beginning of a file that is there already. */
export interface Lead {
  /** In bytes. */
  readonly size: number;
  /** The hash of it, to be gone on with. */
  readonly hash: Hash;
}

/** Reads and hashes the first `size` bytes of a file. @throws the signal's reason when it fires. */
export async function hashLead(handle: FileHandle, size: number, signal?: AbortSignal): Promise<Lead> {
  const lead = { size, hash: createDigest() };
  await readBack(handle, [0, size], (bytes) => {
    signal?.throwIfAborted();
    lead.hash.update(bytes);
  });
  return lead;
}

/** Writes bytes in order, hashing one batch while the one before is being written. At most two batches are in memory. */
export class SequentialWriter {
  readonly #handle: FileHandle;
  readonly #hash: Hash;
  readonly #ownsBytes: boolean;
  #batch: Uint8Array[] = [];
  #batchBytes = 0;
  #size: number;
  #writing: Promise<void> = Promise.resolve();

  /**
   * @param lead what is there, after which it goes on.
   * @param ownsBytes whether the memory of what is written is given back.
   */
  constructor(handle: FileHandle, { size, hash }: Lead = { size: 0, hash: createDigest() }, ownsBytes = false) {
    this.#handle = handle;
    this.#size = size;
    this.#hash = hash;
    this.#ownsBytes = ownsBytes;
  }

  /** Takes bytes in; resolves when there is room for more. */
  async write(bytes: Uint8Array): Promise<void> {
    this.#hash.update(bytes);
    this.#size += bytes.length;
    this.#batch.push(bytes);
    this.#batchBytes += bytes.length;
    if (this.#batchBytes >= BATCH_BYTES) await this.#flush();
  }

  /** Writes what is left. */
  async finish(): Promise<Received> {
    await this.#flush();
    await this.#writing;
    return { size: this.#size, digest: finishDigest(this.#hash) };
  }

  /** Writes what is left as far as that is possible, and waits for it, so that the file can be closed. */
  async settle(): Promise<void> {
    await this.#flush().catch(() => undefined);
    await this.#writing.catch(() => undefined);
  }

  async #flush(): Promise<void> {
    await this.#writing;
    const batch = this.#batch;
    const position = this.#size - this.#batchBytes;
    this.#batch = [];
    this.#batchBytes = 0;
    this.#writing = writeAll(this.#handle, batch, position);
    if (this.#ownsBytes) {
      this.#writing = this.#writing.then(() => {
        for (const piece of batch) freePiece(piece);
      });
    }
    // A failure is met at the next await of it; until then it is nobody's unhandled rejection.
    this.#writing.catch(() => undefined);
  }
}

/**
 * Writes bytes wherever they belong, by several at once, and hashes them in order: at once those that come next, and the
 * others from the file when what was missing before them has come.
 */
export class PositionedWriter {
  readonly #handle: FileHandle;
  readonly #hash: Hash;
  /** Ends of the written stretches beyond the hashed ones, by their start. */
  readonly #ahead = new Map<number, number>();
  #hashed: number;
  #catchingUp: Promise<void> | undefined;

  /**
   * @param lead what is there, after which it goes on.
   * @param beyond what is there as well, further on; it is hashed when what is missing before it has come.
   */
  constructor(
    handle: FileHandle,
    { size, hash }: Lead = { size: 0, hash: createDigest() },
    beyond: readonly Span[] = [],
  ) {
    this.#handle = handle;
    this.#hashed = size;
    this.#hash = hash;
    for (const [start, end] of beyond) this.#ahead.set(start, end);
  }

  /** Writes `bytes` at `offset`. Every stretch is written once. */
  async writeAt(bytes: Uint8Array, offset: number): Promise<void> {
    await writeAll(this.#handle, [bytes], offset);
    if (offset === this.#hashed && this.#catchingUp === undefined) {
      this.#hash.update(bytes);
      this.#hashed += bytes.length;
    } else {
      this.#ahead.set(offset, offset + bytes.length);
    }
    if (!this.#ahead.has(this.#hashed)) return;
    this.#catchingUp ??= this.#catchUp().finally(() => {
      this.#catchingUp = undefined;
    });
    // Whoever writes waits for the hash, which keeps it near enough for the bytes to be in memory still.
    await this.#catchingUp;
  }

  /** To be called when every byte is written. */
  async finish(): Promise<Received> {
    await this.#catchingUp;
    await this.#catchUp();
    return { size: this.#hashed, digest: finishDigest(this.#hash) };
  }

  async #catchUp(): Promise<void> {
    for (let end = this.#ahead.get(this.#hashed); end !== undefined; end = this.#ahead.get(this.#hashed)) {
      this.#ahead.delete(this.#hashed);
      await readBack(this.#handle, [this.#hashed, end], (bytes) => {
        this.#hash.update(bytes);
        this.#hashed += bytes.length;
      });
    }
  }
}

async function readBack(handle: FileHandle, [start, end]: Span, take: (bytes: Uint8Array) => void): Promise<void> {
  const buffer = Buffer.allocUnsafe(Math.min(READ_BACK_BYTES, end - start));
  for (let at = start; at < end; ) {
    const { bytesRead } = await handle.read(buffer, 0, Math.min(buffer.length, end - at), at);
    if (bytesRead === 0) throw new Error('the file was cut short while it was being written');
    take(buffer.subarray(0, bytesRead));
    at += bytesRead;
  }
}

/** Writes all of it: a single call may write less, and says why only when it is called again. */
async function writeAll(handle: FileHandle, pieces: readonly Uint8Array[], position: number): Promise<void> {
  let rest = pieces.filter((piece) => piece.length > 0);
  let at = position;
  while (rest.length > 0) {
    let { bytesWritten: written } = await handle.writev(rest, at);
    at += written;
    const next: Uint8Array[] = [];
    for (const piece of rest) {
      if (written >= piece.length) {
        written -= piece.length;
      } else {
        next.push(written === 0 ? piece : piece.subarray(written));
        written = 0;
      }
    }
    rest = next;
  }
}
