import { readlink, realpath, stat, type FileHandle } from 'node:fs/promises';
import path from 'node:path';

/** Whether `file` lies below `root`; both are real paths. */
export function isBelow(root: string, file: string): boolean {
  const relative = path.relative(root, file);
  return relative !== '' && relative !== '..' && !relative.startsWith(`..${path.sep}`) && !path.isAbsolute(relative);
}

/**
 * Whether what was opened, not what a path leads to by now, lies below `root`. On Linux the kernel says where the open
 * file is; elsewhere the path is resolved anew and must lead to the very file that is open.
 */
export async function isOpenedBelow(root: string, file: string, handle: FileHandle): Promise<boolean> {
  const opened = process.platform === 'linux' ? await readOwnPath(handle) : undefined;
  return opened === undefined ? isResolvedBelow(root, file, handle) : isBelow(root, opened);
}

/** Whether the path still leads, below `root`, to the very file that is open. */
export async function isResolvedBelow(root: string, file: string, handle: FileHandle): Promise<boolean> {
  const real = await realpath(file);
  if (!isBelow(root, real)) return false;
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
