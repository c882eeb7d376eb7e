import { constants, type BigIntStats } from 'node:fs';
import { access, realpath, stat } from 'node:fs/promises';
import path from 'node:path';
import { RelayError } from '../../protocol/errors.ts';
import { systemCode } from './file-errors.ts';

/**
 * Checks a data directory before anything is started.
 * @throws {RelayError} usage when it is not there, is no directory, or may not be read.
 */
export async function checkDataDir(dir: string): Promise<void> {
  const problem = await findProblem(dir);
  if (problem !== undefined) throw new RelayError('usage', `the data directory ${dir} ${problem}`);
}

type DataDirOptions = Pick<DataDir, 'hidden' | 'platform'>;

/** The data directory: where it is and whether it is still what it was at the start. */
export class DataDir {
  readonly #dir: string;
  readonly #wasMountPoint: boolean;
  /** Whether names with a part that begins with a dot are offered. */
  readonly hidden: boolean;
  /** Whose rules for names and paths hold: that of this machine. */
  readonly platform: NodeJS.Platform;

  private constructor(dir: string, { hidden, platform }: DataDirOptions, wasMountPoint: boolean) {
    this.#dir = dir;
    this.hidden = hidden;
    this.platform = platform;
    this.#wasMountPoint = wasMountPoint;
  }

  /** Takes `dir` as it is now. @throws {RelayError} usage, see {@link checkDataDir}. */
  static async open(dir: string, options: DataDirOptions): Promise<DataDir> {
    await checkDataDir(dir);
    const absolute = path.resolve(dir);
    return new DataDir(absolute, options, await isMountPoint(absolute));
  }

  /**
   * The directory's real path, without links. Call it before every use: a network share may have gone.
   * @throws {RelayError} data_dir_unavailable when it is gone, no directory, unreadable, or was a mount point at the start
   * and no longer is one, so that an empty directory under a lost mount is not taken for a lost collection.
   */
  async locate(): Promise<string> {
    const problem = await findProblem(this.#dir);
    if (problem !== undefined) throw unavailable(problem);
    if (this.#wasMountPoint && !(await isMountPoint(this.#dir))) throw unavailable('is no longer mounted');
    try {
      return await realpath(this.#dir);
    } catch (error) {
      throw unavailable(`cannot be used (${systemCode(error)})`, error);
    }
  }
}

/** The path does not go out: an app has no use for it, and the node's log has it. */
function unavailable(problem: string, cause?: unknown): RelayError {
  return new RelayError('data_dir_unavailable', `the connector's data directory ${problem}`, { cause });
}

async function findProblem(dir: string): Promise<string | undefined> {
  try {
    const stats = await stat(dir);
    if (!stats.isDirectory()) return 'is not a directory';
    await access(dir, constants.R_OK | constants.X_OK);
    return undefined;
  } catch (error) {
    const code = systemCode(error);
    if (code === 'ENOENT' || code === 'ENOTDIR') return 'does not exist';
    return code === 'EACCES' || code === 'EPERM' ? 'may not be read' : `cannot be used (${code})`;
  }
}

/** On another device than its parent. A directory bound from the same file system goes unnoticed. */
async function isMountPoint(dir: string): Promise<boolean> {
  try {
    const real = await realpath(dir);
    const [own, parent]: BigIntStats[] = await Promise.all([
      stat(real, { bigint: true }),
      stat(path.dirname(real), { bigint: true }),
    ]);
    return own !== undefined && parent !== undefined && own.dev !== parent.dev;
  } catch {
    return false;
  }
}
