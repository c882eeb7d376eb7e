import type { Stats } from 'node:fs';
import { access, constants, lstat, readlink, stat } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { RelayError } from '../protocol/errors.ts';
import type { Content } from './content.ts';
import { PositionedWriter, SequentialWriter } from './file-writer.ts';
import { outputError } from './output-error.ts';
import { endSpecialFile, openSpecialFile } from './special-file.ts';
import { isStoreContent, type StoreContent } from './store-content.ts';
import { TemporaryFile } from './temporary-file.ts';
import { type Receipt, type Received, verify } from './verify.ts';
import { type SaveOptions, writeOut } from './write-out.ts';

const MAX_LINKS = 40;

/**
 * Saves content under a name, whole and checked or not at all: it is written to a temporary file beside the target, which
 * takes the target's name once size and digest agree. A symbolic link is kept and what it points to replaced; the mode of
 * a file that was there is kept; the dataset's own time of change is set. What is no regular file (a device, a FIFO) is
 * written directly. However this ends, the body is let go of.
 * @throws {RelayError} output_failed when the target cannot be written; content_mismatch or unverified as `verify` does;
 * and whatever the body errors with.
 * @throws the signal's reason when it fires.
 */
export async function saveTo(path: string, content: Content, options: SaveOptions = {}): Promise<Receipt> {
  try {
    options.signal?.throwIfAborted();
    const target = await findTarget(path).catch((cause: unknown) => {
      throw outputError(cause, path);
    });
    return target.isSpecial
      ? await saveToSpecial(target.path, content, options)
      : await saveToFile(target, content, options);
  } finally {
    if (!content.body.locked) await content.body.cancel().catch(() => undefined);
  }
}

/**
 * Checks that a target can be written, before anything is transferred.
 * @returns whether it is no regular file, so that it is written directly and nothing of that can be taken back.
 * @throws {RelayError} output_failed when it cannot be written.
 */
export async function checkTarget(path: string): Promise<{ isSpecial: boolean }> {
  try {
    const target = await findTarget(path);
    if (target.isSpecial) return { isSpecial: true };
    await access(dirname(target.path), constants.W_OK | constants.X_OK);
    if (!(await stat(dirname(target.path))).isDirectory()) throw Object.assign(new Error(), { code: 'ENOTDIR' });
    return { isSpecial: false };
  } catch (cause) {
    throw outputError(cause, path);
  }
}

interface Target {
  readonly path: string;
  /** Written directly. */
  readonly isSpecial: boolean;
  /** The regular file that is there now. */
  readonly existing: Stats | undefined;
}

/** Follows links, a last one that points to nothing included, as `open` would. */
async function findTarget(path: string): Promise<Target> {
  let current = resolve(path);
  for (let links = 0; links <= MAX_LINKS; links += 1) {
    // What is open in a process has a name there but no directory to put a file into.
    if (/^\/(?:proc|dev\/fd)\//.test(current)) return { path: current, isSpecial: true, existing: undefined };
    const found = await lstat(current).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return undefined;
      throw error;
    });
    if (found === undefined) return { path: current, isSpecial: false, existing: undefined };
    if (found.isSymbolicLink()) {
      current = resolve(dirname(current), await readlink(current));
      continue;
    }
    if (found.isDirectory()) throw Object.assign(new Error('is a directory'), { code: 'EISDIR' });
    if (!found.isFile()) return { path: current, isSpecial: true, existing: undefined };
    // A rename needs no permission of the file it replaces, and yet a file that is read-only is so on purpose.
    await access(current, constants.W_OK);
    return { path: current, isSpecial: false, existing: found };
  }
  throw Object.assign(new Error('too many symbolic links'), { code: 'ELOOP' });
}

async function saveToFile(target: Target, content: Content, options: SaveOptions): Promise<Receipt> {
  const { path, existing } = target;
  const guard = <T>(work: Promise<T>): Promise<T> =>
    work.catch((cause: unknown) => {
      throw outputError(cause, path);
    });
  const file = await guard(TemporaryFile.create(path, existing));
  try {
    const received =
      isStoreContent(content) && content.isLarge
        ? await fillInParts(file, content, options, guard)
        : await fillInOrder(file, content, options, guard);
    const receipt = await verify(received, content, options.requireDigest);
    options.signal?.throwIfAborted();
    await guard(file.commit(content.lastModified));
    return receipt;
  } finally {
    await file.discard();
  }
}

type Guard = <T>(work: Promise<T>) => Promise<T>;

async function fillInOrder(
  file: TemporaryFile,
  content: Content,
  { signal, onBytes }: SaveOptions,
  guard: Guard,
): Promise<Received> {
  const writer = new SequentialWriter(file.handle);
  const reader = content.body.getReader();
  const onAbort = (): void => void reader.cancel(signal?.reason).catch(() => undefined);
  signal?.addEventListener('abort', onAbort, { once: true });
  let size = 0;
  try {
    for (;;) {
      const { done, value } = await reader.read();
      signal?.throwIfAborted();
      if (done) return await guard(writer.finish());
      await guard(writer.write(value));
      size += value.length;
      onBytes?.(size);
    }
  } finally {
    signal?.removeEventListener('abort', onAbort);
    await reader.cancel().catch(() => undefined);
    await writer.settle();
  }
}

async function fillInParts(
  file: TemporaryFile,
  content: StoreContent,
  { signal, onBytes }: SaveOptions,
  guard: Guard,
): Promise<Received> {
  const writer = new PositionedWriter(file.handle);
  let size = 0;
  await content.writeParts(async (bytes, offset) => {
    await guard(writer.writeAt(bytes, offset));
    size += bytes.length;
    onBytes?.(size);
  }, signal);
  return guard(writer.finish());
}

async function saveToSpecial(path: string, content: Content, options: SaveOptions): Promise<Receipt> {
  const file = await openSpecialFile(path, options.signal).catch((cause: unknown) => {
    options.signal?.throwIfAborted();
    throw outputError(cause, path);
  });
  try {
    const receipt = await writeOut(file, content, options);
    await endSpecialFile(file);
    return receipt;
  } catch (error) {
    options.signal?.throwIfAborted();
    // The stream throws what the system said; all else is RelayError already.
    throw error instanceof RelayError ? error : outputError(error, path);
  } finally {
    file.destroy();
  }
}
