import { createHash } from 'node:crypto';
import { constants, type Stats } from 'node:fs';
import { type FileHandle, lstat, open, unlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { FileLock, isOwnFile } from './file-lock.ts';
import { type PartialRecord, Sidecar } from './sidecar.ts';
import { addSpan, countBytes, type Span } from './spans.ts';
import { cutName, publish } from './temporary-file.ts';

/** Partial files that were last written to longer ago than this are begun anew, in milliseconds. */
const MAX_AGE_MS = 7 * 24 * 3_600_000;
/** Bytes that come out of order are noted in the sidecar whenever there are so many more; a kill loses those since. */
const NOTE_BYTES = 4 * 1024 * 1024;
const MAX_NAME_BYTES = 255;
const OPEN_FLAGS = constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW;

/** What a partial file is for. */
export interface PartialTarget {
  readonly path: string;
  /** The regular file that is there now, whose mode and owner are kept. */
  readonly existing: Stats | undefined;
}

/** Where the bytes of a partial file are from. */
export type Origin = Pick<PartialRecord, 'from' | 'etag' | 'size'>;

/**
 * A file beside its target that takes the target's place all at once, and that outlives a transfer which broke off, so that
 * the next one to the same target goes on with it. Its name follows from the target's; one at a time has it.
 */
export class PartialFile {
  readonly handle: FileHandle;
  readonly #path: string;
  readonly #target: PartialTarget;
  readonly #lock: FileLock;
  readonly #sidecar: Sidecar;
  #found: PartialRecord | undefined;
  #origin: Origin | undefined;
  /** What is there; undefined where it comes in order, so that the length of the file says it. */
  #spans: Span[] | undefined;
  #unnoted = 0;
  #isSettled = false;

  private constructor(handle: FileHandle, path: string, target: PartialTarget, lock: FileLock, sidecar: Sidecar) {
    this.handle = handle;
    this.#path = path;
    this.#target = target;
    this.#lock = lock;
    this.#sidecar = sidecar;
  }

  /**
   * Takes the partial file of a target, or begins one.
   * @returns undefined where another transfer has it, or it is not this user's, or the file system has no locks.
   * @throws what the system says when it cannot be written.
   */
  static async open(target: PartialTarget): Promise<PartialFile | undefined> {
    const path = join(dirname(target.path), partialName(basename(target.path)));
    const lock = await FileLock.acquire(`${path}.lock`);
    if (lock === undefined) return undefined;
    let handle: FileHandle | undefined;
    try {
      // Never wider than what it will replace, not even for a moment.
      handle = await open(path, OPEN_FLAGS, target.existing === undefined ? 0o666 : 0o600);
      const stats = await handle.stat();
      const isPrivate = target.existing === undefined || (stats.mode & 0o077 & ~target.existing.mode) === 0;
      const sidecar = isOwnFile(stats) && isPrivate ? await Sidecar.open(`${path}.json`) : undefined;
      if (sidecar !== undefined) {
        const file = new PartialFile(handle, path, target, lock, sidecar);
        await file.#look(stats);
        return file;
      }
      if (isOwnFile(stats)) for (const left of [path, `${path}.json`]) await unlink(left).catch(() => undefined);
    } catch (error) {
      await handle?.close();
      lock.release();
      // What is in the way under this name is nobody's to remove; a name of its own may still be had.
      if (IN_THE_WAY.has((error as NodeJS.ErrnoException).code ?? '')) return undefined;
      throw error;
    }
    await handle.close();
    lock.release();
    return undefined;
  }

  /** What a former transfer has left; undefined for nothing, or nothing of use. */
  get found(): (Origin & { readonly spans: readonly Span[] }) | undefined {
    return this.#found === undefined ? undefined : { ...this.#found, spans: this.#spans ?? [] };
  }

  /** Lets go of what was found, so that the file is empty. */
  async clear(): Promise<void> {
    await this.handle.truncate(0);
    this.#sidecar.clear();
    this.#found = undefined;
    this.#spans = undefined;
  }

  /**
   * Says what will be written from now on.
   * @param origin what it is; undefined for what cannot be gone on with later.
   * @param orderedFrom where it will be written in order and nowhere else, in bytes; undefined where it will not.
   */
  async begin(origin: Origin | undefined, orderedFrom: number | undefined): Promise<void> {
    if (orderedFrom !== undefined) await this.handle.truncate(orderedFrom);
    this.#spans = orderedFrom === undefined ? (this.#spans ?? []) : undefined;
    this.#origin = origin;
    if (origin === undefined) this.#sidecar.clear();
    else this.#write();
  }

  /** Notes that a span is written, where they come out of order. */
  noteWritten(span: Span): void {
    this.#spans = addSpan(this.#spans ?? [], span);
    this.#unnoted += span[1] - span[0];
    if (this.#unnoted >= NOTE_BYTES) this.#write();
  }

  /** Makes the content durable and gives it the target's name. */
  async commit(lastModified: Date | undefined): Promise<Stats> {
    const stats = await publish(this.handle, this.#path, this.#target, lastModified);
    await this.#settle(() => this.#sidecar.remove());
    return stats;
  }

  /** Leaves it for the next transfer. @returns how many bytes are there; 0 where nothing was worth leaving. */
  async keep(): Promise<number> {
    if (this.#isSettled) return 0;
    const { size } = await lstat(this.#path);
    const bytes = this.#spans === undefined ? size : countBytes(this.#spans);
    if (bytes === 0 || (this.#origin ?? this.#found) === undefined) {
      await this.discard();
      return 0;
    }
    this.#write();
    await this.handle.close().catch(() => undefined);
    await this.#settle(() => this.#sidecar.close());
    return bytes;
  }

  /** Removes it. After `commit` or `keep` nothing happens. */
  async discard(): Promise<void> {
    if (this.#isSettled) return;
    await this.handle.close().catch(() => undefined);
    await unlink(this.#path).catch(() => undefined);
    await this.#settle(() => this.#sidecar.remove());
  }

  async #look({ size, mtimeMs }: Stats): Promise<void> {
    const record = await this.#sidecar.read();
    const spans = (record?.spans ?? [[0, size] as const])
      .map(([start, end]): Span => [start, Math.min(end, size)])
      .filter(([start, end]) => start < end);
    const isOld = Date.now() - mtimeMs > MAX_AGE_MS;
    if (record === undefined || isOld || spans.length === 0 || size > record.size) {
      if (size > 0) await this.clear();
      return;
    }
    this.#found = record;
    this.#spans = spans;
  }

  /** What cannot be noted can only not be gone on with. */
  #write(): void {
    this.#unnoted = 0;
    if (this.#origin !== undefined) this.#sidecar.write({ ...this.#origin, spans: this.#spans ?? null });
  }

  async #settle(endSidecar: () => Promise<void>): Promise<void> {
    this.#isSettled = true;
    await endSidecar();
    this.#lock.release();
  }
}

const IN_THE_WAY = new Set(['ELOOP', 'EISDIR', 'ENXIO', 'EACCES', 'EPERM']);

/** How many bytes are there from the first on. */
export const leadOf = (spans: readonly Span[]): number => (spans[0]?.[0] === 0 ? spans[0][1] : 0);

/** `.NAME.relay-part`; a name that is too long for that is cut, and told from others by a hash. */
function partialName(name: string): string {
  const suffix = '.relay-part';
  const longest = MAX_NAME_BYTES - suffix.length - '..json'.length;
  if (Buffer.byteLength(name) <= longest) return `.${name}${suffix}`;
  const hash = createHash('sha256').update(name).digest('hex').slice(0, 16);
  return `.${cutName(name, longest - hash.length - 1)}.${hash}${suffix}`;
}
