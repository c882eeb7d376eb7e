import type { FileHandle } from 'node:fs/promises';
import { createDigest, finishDigest } from '../http/digest.ts';
import type { Received } from './verify.ts';

/** Small pieces are gathered up to this many bytes before they are written. */
const BATCH_BYTES = 1024 * 1024;
const READ_BACK_BYTES = 1024 * 1024;

/** Writes bytes in order, hashing one batch while the one before is being written. At most two batches are in memory. */
export class SequentialWriter {
  readonly #handle: FileHandle;
  readonly #hash = createDigest();
  #batch: Uint8Array[] = [];
  #batchBytes = 0;
  #size = 0;
  #writing: Promise<void> = Promise.resolve();

  constructor(handle: FileHandle) {
    this.#handle = handle;
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

  /** Waits for what is being written, whatever comes of it, so that the file can be closed. */
  async settle(): Promise<void> {
    await this.#writing.catch(() => undefined);
  }

  async #flush(): Promise<void> {
    await this.#writing;
    const batch = this.#batch;
    this.#batch = [];
    this.#batchBytes = 0;
    this.#writing = writeAll(this.#handle, batch, null);
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
  readonly #hash = createDigest();
  /** Ends of the written stretches beyond the hashed ones, by their start. */
  readonly #ahead = new Map<number, number>();
  #hashed = 0;
  #catchingUp: Promise<void> | undefined;

  constructor(handle: FileHandle) {
    this.#handle = handle;
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
    const buffer = Buffer.allocUnsafe(READ_BACK_BYTES);
    for (let end = this.#ahead.get(this.#hashed); end !== undefined; end = this.#ahead.get(this.#hashed)) {
      this.#ahead.delete(this.#hashed);
      while (this.#hashed < end) {
        const { bytesRead } = await this.#handle.read(
          buffer,
          0,
          Math.min(buffer.length, end - this.#hashed),
          this.#hashed,
        );
        if (bytesRead === 0) throw new Error('the file was cut short while it was being written');
        this.#hash.update(buffer.subarray(0, bytesRead));
        this.#hashed += bytesRead;
      }
    }
  }
}

/** Writes all of it: a single call may write less, and says why only when it is called again. */
async function writeAll(handle: FileHandle, pieces: readonly Uint8Array[], position: number | null): Promise<void> {
  let rest = pieces.filter((piece) => piece.length > 0);
  let at = position;
  while (rest.length > 0) {
    let { bytesWritten: written } = await (at === null ? handle.writev(rest) : handle.writev(rest, at));
    if (at !== null) at += written;
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
