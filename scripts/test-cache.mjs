import { access, constants } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';

/** Where the tests' tools are kept, outside the tree, for every clone. */
export function cacheDirectory() {
  return join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'relay-test');
}

/** Whether there is a program at a path that can be run. */
export async function isExecutable(path) {
  try {
    await access(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** The end of what a program said when it failed. */
export function lastLines(error) {
  const text = String(error.stderr || error.message).trim();
  return text.split('\n').slice(-5).join('\n');
}
