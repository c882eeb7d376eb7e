import path from 'node:path';
import type { Disk } from './disk.ts';

/**
 * Whether `file` lies below `root`; both are real paths, so that each thing has one spelling. Compared exactly on Windows
 * too: what differs in case only may be two directories there.
 */
export function isBelow(root: string, file: string, platform: NodeJS.Platform): boolean {
  const { sep } = platform === 'win32' ? path.win32 : path.posix;
  const start = root.endsWith(sep) ? root : root + sep;
  return file.startsWith(start) && file.length > start.length;
}

/** An open file, and the disk that it was opened on. */
export interface OpenedFile {
  readonly descriptor: number;
  readonly disk: Disk;
}

/**
 * Whether what was opened, not what a path leads to by now, lies below `root`. On Linux the kernel says where the open
 * file is; elsewhere the path is resolved anew and must lead to the very file that is open.
 */
export async function isOpenedBelow(
  root: string,
  file: string,
  opened: OpenedFile,
  platform: NodeJS.Platform,
): Promise<boolean> {
  const own = platform === 'linux' ? await readOwnPath(opened) : undefined;
  return own === undefined ? isResolvedBelow(root, file, opened, platform) : isBelow(root, own, platform);
}

/** Whether the path still leads, below `root`, to the very file that is open. */
async function isResolvedBelow(
  root: string,
  file: string,
  { descriptor, disk }: OpenedFile,
  platform: NodeJS.Platform,
): Promise<boolean> {
  const real = await disk.realpath(file);
  if (!isBelow(root, real, platform)) return false;
  const [there, here] = await Promise.all([disk.stat(real), disk.fstat(descriptor)]);
  return there.dev === here.dev && there.ino === here.ino;
}

/** Where the kernel has an open file; undefined where /proc is not mounted. */
async function readOwnPath({ descriptor, disk }: OpenedFile): Promise<string | undefined> {
  try {
    return await disk.readlink(`/proc/self/fd/${descriptor}`);
  } catch {
    return undefined;
  }
}
