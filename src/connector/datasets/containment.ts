import { readlink, realpath, stat, type FileHandle } from 'node:fs/promises';
import path from 'node:path';

/**
 * Whether `file` lies below `root`; both are real paths, so that each thing has one spelling. Compared exactly on Windows
 * too: what differs in case only may be two directories there.
 */
export function isBelow(root: string, file: string, platform: NodeJS.Platform): boolean {
  const { sep } = platform === 'win32' ? path.win32 : path.posix;
  const start = root.endsWith(sep) ? root : root + sep;
  return file.startsWith(start) && file.length > start.length;
}

/**
 * Whether what was opened, not what a path leads to by now, lies below `root`. On Linux the kernel says where the open
 * file is; elsewhere the path is resolved anew and must lead to the very file that is open.
 */
export async function isOpenedBelow(
  root: string,
  file: string,
  handle: FileHandle,
  platform: NodeJS.Platform,
): Promise<boolean> {
  const opened = platform === 'linux' ? await readOwnPath(handle) : undefined;
  return opened === undefined ? isResolvedBelow(root, file, handle, platform) : isBelow(root, opened, platform);
}

/** Whether the path still leads, below `root`, to the very file that is open. */
async function isResolvedBelow(
  root: string,
  file: string,
  handle: FileHandle,
  platform: NodeJS.Platform,
): Promise<boolean> {
  const real = await realpath(file);
  if (!isBelow(root, real, platform)) return false;
  const [there, here] = await Promise.all([stat(real, { bigint: true }), handle.stat({ bigint: true })]);
  return there.dev === here.dev && there.ino === here.ino;
}

/** Where the kernel has an open file; undefined where /proc is not mounted. */
async function readOwnPath(handle: FileHandle): Promise<string | undefined> {
  try {
    return await readlink(`/proc/self/fd/${handle.fd}`);
  } catch {
    return undefined;
  }
}
