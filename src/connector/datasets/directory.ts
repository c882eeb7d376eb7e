import { constants } from 'node:fs';
import { open, readlink, realpath } from 'node:fs/promises';
import { isBelow } from './containment.ts';

const FLAGS = constants.O_RDONLY | (constants.O_DIRECTORY ?? 0) | (constants.O_NONBLOCK ?? 0);

/** A directory that is held while its entries are looked at. */
export interface Directory {
  /** Its real path. */
  readonly real: string;
  /** The path to put before an entry's name. On Linux it leads through the open directory, whatever its path becomes. */
  readonly access: string;
  close(): Promise<void>;
}

/**
 * Opens a directory of the data directory, or that itself.
 * @param root real path of the data directory.
 * @param follow whether the last part of `file` may be a link.
 * @param platform that of this machine; only Linux can go through the open directory.
 * @returns undefined where it lies outside.
 * @throws the system's error when it cannot be opened.
 */
export async function openDirectory(
  root: string,
  file: string,
  follow: boolean,
  platform: NodeJS.Platform,
): Promise<Directory | undefined> {
  if (platform !== 'linux') return openByPath(root, file, platform);
  const handle = await open(file, FLAGS | (follow ? 0 : constants.O_NOFOLLOW));
  const access = `/proc/self/fd/${handle.fd}`;
  try {
    const real = await readlink(access);
    if (real === root || isBelow(root, real, platform)) return { real, access, close: () => handle.close() };
    await handle.close();
    return undefined;
  } catch {
    // Without /proc there is only the path.
    await handle.close();
    return openByPath(root, file, platform);
  }
}

async function openByPath(root: string, file: string, platform: NodeJS.Platform): Promise<Directory | undefined> {
  const real = await realpath(file);
  if (real !== root && !isBelow(root, real, platform)) return undefined;
  return { real, access: real, close: () => Promise.resolve() };
}
