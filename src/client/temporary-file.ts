import { randomBytes } from 'node:crypto';
import { type Stats, unlinkSync } from 'node:fs';
import { constants, type FileHandle, open, rename, unlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';

const MAX_NAME_BYTES = 255;
const OPEN_FLAGS = constants.O_RDWR | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;

/** Every temporary file of this process that is still there, so that no way out of it leaves one behind. */
const leftovers = new Set<string>();

function removeLeftovers(): void {
  for (const path of leftovers) {
    try {
      unlinkSync(path);
    } catch {
      // It is gone already, or cannot be removed: there is nobody left to tell.
    }
  }
}

/**
 * A file beside its target, under a name that nobody else has, which takes the target's place all at once or not at all.
 * It is removed when the process exits before that.
 */
export class TemporaryFile {
  readonly handle: FileHandle;
  readonly #path: string;
  readonly #target: string;
  readonly #replaced: Stats | undefined;

  private constructor(handle: FileHandle, path: string, target: string, replaced: Stats | undefined) {
    this.handle = handle;
    this.#path = path;
    this.#target = target;
    this.#replaced = replaced;
  }

  /** @param replaced the regular file that is at `target` now, whose mode and owner are kept. */
  static async create(target: string, replaced: Stats | undefined): Promise<TemporaryFile> {
    const path = join(dirname(target), temporaryName(basename(target)));
    // Never wider than what it will replace, not even for a moment.
    const handle = await open(path, OPEN_FLAGS, replaced === undefined ? 0o666 : 0o600);
    if (leftovers.size === 0) process.once('exit', removeLeftovers);
    leftovers.add(path);
    return new TemporaryFile(handle, path, target, replaced);
  }

  /** Makes the content durable and gives it the target's name. The handle is closed. */
  async commit(lastModified: Date | undefined): Promise<Stats> {
    const target = { path: this.#target, existing: this.#replaced };
    const stats = await publish(this.handle, this.#path, target, lastModified);
    this.#forget();
    return stats;
  }

  /** Removes it. After `commit` nothing happens. */
  async discard(): Promise<void> {
    await this.handle.close().catch(() => undefined);
    if (!leftovers.has(this.#path)) return;
    await unlink(this.#path).catch(() => undefined);
    this.#forget();
  }

  #forget(): void {
    leftovers.delete(this.#path);
    if (leftovers.size === 0) process.removeListener('exit', removeLeftovers);
  }
}

/**
 * Makes a file's content durable, closes it, and gives it the name, and the mode and owner, of what it replaces.
 * @returns what the file is then, whatever takes its place.
 */
export async function publish(
  handle: FileHandle,
  path: string,
  target: { readonly path: string; readonly existing: Stats | undefined },
  lastModified: Date | undefined,
): Promise<Stats> {
  if (target.existing !== undefined) {
    const { uid, gid, mode } = target.existing;
    // Only root may give files away; for anybody else the file stays their own, as with any copy.
    await handle.chown(uid, gid).catch(() => undefined);
    await handle.chmod(mode & 0o7777);
  }
  if (lastModified !== undefined) await handle.utimes(new Date(), lastModified);
  await handle.sync();
  const stats = await handle.stat();
  await handle.close();
  await rename(path, target.path);
  await syncDirectory(dirname(target.path));
  return stats;
}

/** `.NAME.relay-XXXX.part`, with NAME cut where the whole would be too long for a file system. */
function temporaryName(name: string): string {
  const suffix = `.relay-${randomBytes(6).toString('hex')}.part`;
  return `.${cutName(name, MAX_NAME_BYTES - suffix.length - 1)}${suffix}`;
}

/** As much of a name as fits into so many bytes. */
export function cutName(name: string, maxBytes: number): string {
  let kept = name;
  while (Buffer.byteLength(kept) > maxBytes) kept = Array.from(kept).slice(0, -1).join('');
  return kept;
}

/** A rename survives a power cut once its directory is on disk; some file systems cannot promise that. */
async function syncDirectory(path: string): Promise<void> {
  const handle = await open(path, constants.O_RDONLY).catch(() => undefined);
  await handle?.sync().catch(() => undefined);
  await handle?.close();
}
