import { lstat, opendir } from 'node:fs/promises';
import path from 'node:path';
import { type DatasetName, parseDatasetName } from '../../protocol/dataset-name.ts';
import { RelayError } from '../../protocol/errors.ts';
import { isNotThere } from './file-errors.ts';

/** Characters that would make a part mean something else to Windows: separators, streams, drives. */
const WINDOWS_SYNTAX = /[\\:]/;

/** Whether a name may be looked for at all. What the protocol would not let pass is not looked for either. */
export function isOffered(name: string, hidden: boolean): boolean {
  if (parseDatasetName(name) instanceof RelayError) return false;
  if (process.platform === 'win32' && WINDOWS_SYNTAX.test(name)) return false;
  return hidden || !name.split('/').some((part) => part.startsWith('.'));
}

/**
 * What a part must have in it to be the NFC of some other spelling: anything beyond ASCII, and the three ASCII characters
 * that are the NFC of one beyond it. All others are not worth reading a directory for.
 */
const MAY_BE_SPELT_OTHERWISE = /[K;`\u0080-\uffff]/;

/**
 * Finds the name on disk that equals `name` part by part: the exact spelling first, then one that is the same in NFC
 * (the first in order of code units, where there are several). File systems differ in how they write accents.
 * @param root real path of the data directory.
 * @returns the name as it is on disk; undefined where there is none.
 */
export async function findNormalized(root: string, name: string): Promise<DatasetName | undefined> {
  let dir = root;
  const found: string[] = [];
  for (const part of name.split('/')) {
    const entry = (await exists(path.join(dir, part))) ? part : await findEntry(dir, part.normalize('NFC'));
    if (entry === undefined) return undefined;
    found.push(entry);
    dir = path.join(dir, entry);
  }
  return found.join('/') as DatasetName;
}

async function exists(file: string): Promise<boolean> {
  try {
    await lstat(file);
    return true;
  } catch (error) {
    if (isNotThere(error)) return false;
    throw error;
  }
}

async function findEntry(dir: string, normalized: string): Promise<string | undefined> {
  if (!MAY_BE_SPELT_OTHERWISE.test(normalized)) return undefined;
  let best: string | undefined;
  for await (const { name } of await opendir(dir)) {
    if (name.normalize('NFC') === normalized && (best === undefined || name < best)) best = name;
  }
  return best;
}
