import { constants } from 'node:fs';
import { type FileHandle, lstat, mkdir, open, readlink, realpath } from 'node:fs/promises';
import path from 'node:path';
import { RelayError } from '../protocol/errors.ts';
import { outputError } from './output-error.ts';

const FLAGS = constants.O_RDONLY | (constants.O_DIRECTORY ?? 0) | (constants.O_NOFOLLOW ?? 0);

/** A directory below the target, held while something is written to it. */
export interface Entered {
  /** The path to put before a name. On Linux it leads through the open directory, whatever its path becomes. */
  readonly access: string;
  close(): Promise<void>;
}

/**
 * A directory that files are written below, under names that others chose. Every directory on the way is opened by itself and
 * must be one, so that no link leads anywhere else. The directory itself may be reached through links: its user named it.
 */
export class TargetDirectory implements AsyncDisposable {
  readonly #path: string;
  /** The path to put before a name in the directory itself, as `enter` has it for those below. */
  readonly access: string;
  readonly #handle: FileHandle | undefined;

  private constructor(directory: string, access: string, handle: FileHandle | undefined) {
    this.#path = directory;
    this.access = access;
    this.#handle = handle;
  }

  /**
   * @param create whether to make it where it is not there.
   * @returns undefined where it is not there. @throws {RelayError} output_failed when it is none or cannot be opened.
   */
  static async open(directory: string, create: boolean): Promise<TargetDirectory | undefined> {
    const full = path.resolve(directory);
    try {
      if (create) await mkdir(full, { recursive: true });
      const real = await realpath(full);
      if (!(await lstat(real)).isDirectory()) throw Object.assign(new Error(), { code: 'ENOTDIR' });
      const handle = await hold(real);
      return new TargetDirectory(full, handle === undefined ? real : accessBy(handle), handle);
    } catch (cause) {
      const { code } = cause as NodeJS.ErrnoException;
      if (code === 'ENOENT' && !create) return undefined;
      if (code !== 'ENOTDIR' && code !== 'EEXIST') throw outputError(cause, directory);
      throw new RelayError('output_failed', `${JSON.stringify(directory)} is no directory to write files to`, {
        cause,
      });
    }
  }

  /**
   * Opens what these parts lead to, one after the other.
   * @param parts names, none of them empty, `.` or `..`.
   * @param create whether to make what is not there.
   * @returns undefined where one is not there. @throws {RelayError} output_failed where one is a link or no directory.
   */
  async enter(parts: readonly string[], create: boolean): Promise<Entered | undefined> {
    let at = this.access;
    let held: FileHandle | undefined;
    for (const [index, part] of parts.entries()) {
      const next = `${at}/${part}`;
      try {
        if (create) await makeDirectory(next);
        if (!(await lstat(next)).isDirectory()) throw Object.assign(new Error(), { code: 'ENOTDIR' });
        const handle = this.#handle && (await open(next, FLAGS));
        await held?.close();
        held = handle;
        at = handle === undefined ? next : accessBy(handle);
      } catch (cause) {
        await held?.close();
        const { code } = cause as NodeJS.ErrnoException;
        if (code === 'ENOENT' && !create) return undefined;
        const shown = path.join(this.#path, ...parts.slice(0, index + 1));
        if (code !== 'ENOTDIR' && code !== 'ELOOP') throw outputError(cause, shown);
        const why = `${JSON.stringify(shown)} is a link or a file, and not a directory`;
        throw new RelayError('output_failed', `cannot write below it: ${why}`, { cause });
      }
    }
    return { access: at, close: async () => held?.close() };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#handle?.close();
  }
}

const accessBy = (handle: FileHandle): string => `/proc/self/fd/${handle.fd}`;

/** The open directory, where files can be reached through it; undefined where there is only its path. */
async function hold(real: string): Promise<FileHandle | undefined> {
  if (process.platform !== 'linux') return undefined;
  const handle = await open(real, FLAGS);
  const isThere = await readlink(accessBy(handle)).then(
    () => true,
    () => false,
  );
  if (isThere) return handle;
  await handle.close();
  return undefined;
}

async function makeDirectory(directory: string): Promise<void> {
  await mkdir(directory).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'EEXIST') throw error;
  });
}
