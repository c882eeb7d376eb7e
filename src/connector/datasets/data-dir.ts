import { constants } from 'node:fs';
import path from 'node:path';
import { RelayError } from '../../protocol/errors.ts';
import { type Disk, directDisk, isLocalDisk, threadedDisk } from './disk.ts';
import { systemCode } from './file-errors.ts';
import { Warm } from './warm.ts';

/**
 * Checks a data directory before anything is started.
 * @throws {RelayError} usage when it is not there, is no directory, or may not be read.
 */
export async function checkDataDir(dir: string): Promise<void> {
  const { problem } = await look(dir, threadedDisk);
  if (problem !== undefined) throw new RelayError('usage', `the data directory ${dir} ${problem}`);
}

/** Where the data directory is at the moment. */
export interface Root {
  /** Its real path. */
  readonly path: string;
  /** The device that it is on where that is a local disk. */
  readonly localDevice: bigint | undefined;
  /** What was taken from there lately. */
  readonly warm: Warm;
}

type DataDirOptions = Pick<DataDir, 'hidden' | 'platform'> & Partial<Pick<DataDir, 'minAgeMs'>>;

/** The data directory: where it is and whether it is still what it was at the start. */
export class DataDir {
  readonly #dir: string;
  readonly #wasMountPoint: boolean;
  readonly #localDevice: bigint | undefined;
  readonly #warm = new Warm();
  #disk: Disk;
  /** Whether names with a part that begins with a dot are offered. */
  readonly hidden: boolean;
  /** For how long a dataset must not have changed to be offered, in ms; 0 for any. */
  readonly minAgeMs: number;
  /** Whose rules for names and paths hold: that of this machine. */
  readonly platform: NodeJS.Platform;

  private constructor(
    dir: string,
    { hidden, platform, minAgeMs = 0 }: DataDirOptions,
    { wasMountPoint, localDevice }: { wasMountPoint: boolean; localDevice: bigint | undefined },
  ) {
    this.#dir = dir;
    this.hidden = hidden;
    this.minAgeMs = minAgeMs;
    this.platform = platform;
    this.#wasMountPoint = wasMountPoint;
    this.#localDevice = localDevice;
    this.#disk = localDevice === undefined ? threadedDisk : directDisk;
  }

  /** Takes `dir` as it is now. @throws {RelayError} usage, see {@link checkDataDir}. */
  static async open(dir: string, options: DataDirOptions): Promise<DataDir> {
    await checkDataDir(dir);
    const absolute = path.resolve(dir);
    const isLocal = await isLocalDisk(absolute, options.platform);
    const { device } = await look(absolute, threadedDisk);
    return new DataDir(absolute, options, {
      wasMountPoint: await isMountPoint(absolute, threadedDisk),
      localDevice: isLocal ? device : undefined,
    });
  }

  /**
   * The directory as it is now. Call it before every use: a network share may have gone.
   * @throws {RelayError} data_dir_unavailable when it is gone, no directory, unreadable, or was a mount point at the start
   * and no longer is one, so that an empty directory under a lost mount is not taken for a lost collection.
   */
  async locate(): Promise<Root> {
    const { problem, device } = await look(this.#dir, this.#disk);
    if (problem !== undefined) throw unavailable(problem);
    // Something else is mounted there by now, and may be anything.
    if (device !== this.#localDevice) this.#disk = threadedDisk;
    const disk = this.#disk;
    if (this.#wasMountPoint && !(await isMountPoint(this.#dir, disk))) throw unavailable('is no longer mounted');
    try {
      return {
        path: await disk.realpath(this.#dir),
        localDevice: disk === directDisk ? this.#localDevice : undefined,
        warm: this.#warm,
      };
    } catch (error) {
      throw unavailable(`cannot be used (${systemCode(error)})`, error);
    }
  }
}

/** The path does not go out: an app has no use for it, and the node's log has it. */
function unavailable(problem: string, cause?: unknown): RelayError {
  return new RelayError('data_dir_unavailable', `the connector's data directory ${problem}`, { cause });
}

/** What is wrong with a directory, if anything, and the device that it is on. */
async function look(dir: string, disk: Disk): Promise<{ problem?: string; device?: bigint }> {
  try {
    const stats = await disk.stat(dir);
    if (!stats.isDirectory()) return { problem: 'is not a directory' };
    await disk.access(dir, constants.R_OK | constants.X_OK);
    return { device: stats.dev };
  } catch (error) {
    const code = systemCode(error);
    if (code === 'ENOENT' || code === 'ENOTDIR') return { problem: 'does not exist' };
    return { problem: code === 'EACCES' || code === 'EPERM' ? 'may not be read' : `cannot be used (${code})` };
  }
}

/** On another device than its parent. A directory bound from the same file system goes unnoticed. */
async function isMountPoint(dir: string, disk: Disk): Promise<boolean> {
  try {
    const real = await disk.realpath(dir);
    const [own, parent] = await Promise.all([disk.stat(real), disk.stat(path.dirname(real))]);
    return own.dev !== parent.dev;
  } catch {
    return false;
  }
}
