import type { FileHandle } from 'node:fs/promises';
import type { ServerResponse } from 'node:http';
import type { Flow } from '../http/pace.ts';
import type { ByteRange } from '../http/range.ts';
import { RelayError } from '../protocol/errors.ts';

/** Large enough that the cost of a read does not matter, small enough for a thousand readers. */
const READ_BYTES = 512 * 1024;

/**
 * Sends a part of a file as the body of a response, reading ahead by one buffer while the reader takes the other: memory is
 * two buffers, whatever the size. Does not end the response.
 * @param flow that it is a part of, where it is to keep to a pace.
 * @throws {RelayError} transfer_interrupted when the reader goes away; store_unavailable when the file is shorter than it was.
 */
export async function sendFile(
  file: FileHandle,
  response: ServerResponse,
  range: ByteRange,
  flow?: Flow,
): Promise<void> {
  const writer = new BufferWriter(response, flow);
  const bufferBytes = Math.min(READ_BYTES, range.length);
  let current = Buffer.allocUnsafeSlow(bufferBytes);
  let other = Buffer.allocUnsafeSlow(range.length > bufferBytes ? bufferBytes : 0);
  let under: Promise<void> = Promise.resolve();
  try {
    for (let done = 0; done < range.length; ) {
      const wanted = Math.min(bufferBytes, range.length - done);
      const { bytesRead } = await file.read(current, 0, wanted, range.offset + done);
      if (bytesRead === 0) throw new RelayError('store_unavailable', 'the object is shorter than it was');
      await under;
      under = writer.write(current.subarray(0, bytesRead));
      // A failure is met at the next await; until then it must not count as unhandled.
      under.catch(() => undefined);
      done += bytesRead;
      [current, other] = [other, current];
    }
    await under;
  } finally {
    writer.close();
  }
}

/** Writes to a response and waits until the buffer may be used again. */
class BufferWriter {
  readonly #response: ServerResponse;
  readonly #flow: Flow | undefined;
  readonly #gone = new AbortController();
  #reject: ((error: RelayError) => void) | undefined;
  readonly #onClose = () => {
    this.#reject?.(readerGone());
    this.#gone.abort(readerGone());
  };

  constructor(response: ServerResponse, flow: Flow | undefined) {
    this.#response = response;
    this.#flow = flow;
    response.once('close', this.#onClose);
  }

  write(buffer: Buffer): Promise<void> {
    return this.#flow === undefined ? this.#write(buffer) : this.#writeAtPace(buffer, this.#flow);
  }

  async #writeAtPace(buffer: Buffer, flow: Flow): Promise<void> {
    for (let start = 0; start < buffer.length; start += flow.pieceBytes) {
      const piece = buffer.subarray(start, start + flow.pieceBytes);
      await flow.take(piece.length, this.#gone.signal);
      await this.#write(piece);
    }
  }

  #write(buffer: Buffer): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#response.destroyed) {
        reject(readerGone());
        return;
      }
      this.#reject = reject;
      this.#response.write(buffer, (error) => (error ? reject(readerGone()) : resolve()));
    });
  }

  close(): void {
    this.#response.off('close', this.#onClose);
  }
}

const readerGone = (): RelayError => new RelayError('transfer_interrupted', 'the reader went away');
