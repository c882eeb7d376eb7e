import { close, constants, createWriteStream, open } from 'node:fs';
import { open as openHandle, stat } from 'node:fs/promises';
import { Socket } from 'node:net';
import type { Writable } from 'node:stream';
import { finished } from 'node:stream/promises';

/**
 * Opens what is no regular file for writing as it is: a device, a FIFO (which waits for somebody who reads it), or what is
 * open already in a process (`/dev/fd/3`), to whose end is appended.
 * @throws what the system says, and the signal's reason when it fires.
 */
export async function openSpecialFile(path: string, signal: AbortSignal | undefined): Promise<Writable> {
  const stream = await openStream(path, signal);
  // Whoever writes hears of a failure from the write; what is emitted after that is the same once more.
  stream.on('error', () => undefined);
  return stream;
}

async function openStream(path: string, signal: AbortSignal | undefined): Promise<Writable> {
  const found = await stat(path);
  if (found.isFIFO()) return openFifo(path, signal);
  const flags = constants.O_WRONLY | (found.isFile() ? constants.O_APPEND : 0);
  const handle = await openHandle(path, flags);
  return createWriteStream(path, { fd: handle, highWaterMark: 1024 * 1024 });
}

/** Ends the file and resolves when all of it is written and closed. */
export async function endSpecialFile(stream: Writable): Promise<void> {
  stream.end();
  await finished(stream, { readable: false });
}

async function openFifo(path: string, signal: AbortSignal | undefined): Promise<Writable> {
  const opening = openDescriptor(path, constants.O_WRONLY);
  // Opening waits in the system, where no signal reaches it; a reader of our own is what ends the wait.
  const onAbort = (): void => void unblock(path, opening);
  signal?.addEventListener('abort', onAbort, { once: true });
  try {
    if (signal?.aborted) onAbort();
    const fd = await opening;
    if (signal?.aborted) {
      close(fd);
      throw signal.reason;
    }
    // As a socket it is written without blocking, so that a reader who stalls stalls nothing else.
    return new Socket({ fd, readable: false, writable: true });
  } finally {
    signal?.removeEventListener('abort', onAbort);
  }
}

async function unblock(path: string, opening: Promise<number>): Promise<void> {
  const reader = await openDescriptor(path, constants.O_RDONLY | constants.O_NONBLOCK);
  await opening.catch(() => undefined);
  close(reader);
}

function openDescriptor(path: string, flags: number): Promise<number> {
  return new Promise((resolve, reject) => {
    open(path, flags, (error, fd) => {
      if (error) reject(error);
      else resolve(fd);
    });
  });
}
