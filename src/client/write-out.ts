import { once } from 'node:events';
import type { Writable } from 'node:stream';
import { createDigest, finishDigest } from '../http/digest.ts';
import { freePiece } from '../http/free-piece.ts';
import type { Content } from './content.ts';
import { type Receipt, verify } from './verify.ts';

/** How to save or write out. */
export interface SaveOptions {
  readonly signal?: AbortSignal | undefined;
  /** Fail where the sender gives no digest. Default false. */
  readonly requireDigest?: boolean | undefined;
  /** Called with the number of bytes that have arrived, whenever more have. */
  readonly onBytes?: ((received: number) => void) | undefined;
  /**
   * Nobody else holds the bytes that the body gives: their memory is given back as soon as they are written, which saves
   * a large transfer a third of its time. Default false.
   */
  readonly ownsBytes?: boolean | undefined;
}

/**
 * Writes the content, which must be the whole, to a stream, no faster than the stream takes it, and checks it once it is out. The stream is left open.
 * @throws {RelayError} as `verify` does, and what the body errors with.
 * @throws the stream's error when it fails, and the signal's reason when it fires.
 */
export async function writeOut(
  stream: Writable,
  content: Content,
  { signal, requireDigest, onBytes, ownsBytes = false }: SaveOptions = {},
): Promise<Receipt> {
  const hash = createDigest();
  let size = 0;
  const stopped = new AbortController();
  const stop = (reason: unknown): void => stopped.abort(reason);
  const onAbort = (): void => stop(signal?.reason);
  const onClose = (): void => stop(Object.assign(new Error('the output was closed'), { code: 'EPIPE' }));
  stream.once('error', stop);
  stream.once('close', onClose);
  signal?.addEventListener('abort', onAbort, { once: true });
  const reader = content.body.getReader();
  let cancelled: Promise<unknown> | undefined;
  // Data that does not come would else keep a reader that nobody needs any more.
  const letGo = (): unknown => (cancelled ??= reader.cancel().catch(() => undefined));
  stopped.signal.addEventListener('abort', letGo, { once: true });
  try {
    if (signal?.aborted) onAbort();
    for (;;) {
      stopped.signal.throwIfAborted();
      const { done, value } = await reader.read();
      stopped.signal.throwIfAborted();
      if (done) break;
      hash.update(value);
      size += value.length;
      const hasRoom = ownsBytes ? stream.write(value, () => freePiece(value)) : stream.write(value);
      onBytes?.(size);
      if (!hasRoom) await waitFor(stream, 'drain', stopped.signal);
    }
    await flush(stream, stopped.signal);
    return await verify({ size, digest: finishDigest(hash) }, content, requireDigest);
  } finally {
    stream.removeListener('error', stop);
    stream.removeListener('close', onClose);
    signal?.removeEventListener('abort', onAbort);
    await letGo();
  }
}

async function waitFor(stream: Writable, event: string, signal: AbortSignal): Promise<void> {
  try {
    await once(stream, event, { signal });
  } catch (error) {
    signal.throwIfAborted();
    throw error;
  }
}

/** Resolves when everything that was written has left the process. */
async function flush(stream: Writable, signal: AbortSignal): Promise<void> {
  if (stream.writableLength === 0) return;
  await new Promise<void>((resolve, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
    stream.write('', (error) => (error ? reject(error) : resolve()));
  });
  signal.throwIfAborted();
}
