import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';

/** Where servers are, which the PATH of users often leaves out. */
const ALSO = ['/usr/local/sbin', '/usr/sbin', '/sbin'];

/** The path of a program. @returns undefined where it is not installed. */
export function findProgram(name: string): string | undefined {
  const directories = [...(process.env['PATH'] ?? '').split(delimiter), ...ALSO];
  return directories.map((directory) => join(directory, name)).find(isExecutable);
}

/** Whether a file is there and may be run. */
export function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
