import * as fs from 'node:fs';
import { statfs } from 'node:fs/promises';
import { promisify } from 'node:util';

type Awaitable<T> = T | Promise<T>;

/** What it takes to look at a file, to open it and to read it. Files are numbers: a descriptor each, closed by whoever opened it. */
export interface Disk {
  stat(file: string): Awaitable<fs.BigIntStats>;
  access(file: string, mode: number): Awaitable<void>;
  /** @returns the path without links. */
  realpath(file: string): Awaitable<string>;
  readlink(file: string): Awaitable<string>;
  open(file: string, flags: number): Awaitable<number>;
  fstat(file: number): Awaitable<fs.BigIntStats>;
  /** Reads up to `length` bytes. @returns how many there were. */
  read(file: number, buffer: Buffer, length: number, position: number): Awaitable<number>;
  close(file: number): Awaitable<void>;
}

const stat = promisify(fs.stat);
const fstat = promisify(fs.fstat);

/** On threads, so that a file system that makes one wait, as a network's may, holds up nothing else. */
export const threadedDisk: Disk = {
  stat: (file) => stat(file, { bigint: true }),
  access: promisify(fs.access),
  realpath: promisify(fs.realpath.native),
  readlink: promisify(fs.readlink) as (file: string) => Promise<string>,
  open: promisify(fs.open) as (file: string, flags: number) => Promise<number>,
  fstat: (file) => fstat(file, { bigint: true }),
  read: (file, buffer, length, position) =>
    new Promise((resolve, reject) => {
      fs.read(file, buffer, 0, length, position, (error, count) => {
        if (error === null) resolve(count);
        else reject(error);
      });
    }),
  close: promisify(fs.close),
};

/**
 * At once. Each of these calls takes a microsecond where memory has what it asks for, and the way to a thread and back
 * twenty. So it is for a local disk alone, and for what was just looked at on a thread.
 */
export const directDisk: Disk = {
  stat: (file) => fs.statSync(file, { bigint: true }),
  access: fs.accessSync,
  realpath: (file) => fs.realpathSync.native(file),
  readlink: (file) => fs.readlinkSync(file),
  open: (file, flags) => fs.openSync(file, flags),
  fstat: (file) => fs.fstatSync(file, { bigint: true }),
  read: (file, buffer, length, position) => fs.readSync(file, buffer, 0, length, position),
  close: fs.closeSync,
};

/** Types of file systems whose directories are in memory or on a disk of this machine (statfs(2)). */
const LOCAL_TYPES: ReadonlySet<number> = new Set([
  0xef53, // ext2, ext3, ext4
  0x58465342, // XFS
  0x9123683e, // Btrfs
  0xf2f52010, // F2FS
  0x2fc12fc1, // ZFS
  0x01021994, // tmpfs
  0x794c7630, // OverlayFS: the root of a container
]);

/** Whether a directory is on a local disk, as far as is known: networks' and user space's file systems are not. */
export async function isLocalDisk(dir: string, platform: NodeJS.Platform): Promise<boolean> {
  if (platform !== 'linux') return false;
  try {
    return LOCAL_TYPES.has((await statfs(dir)).type);
  } catch {
    return false;
  }
}
