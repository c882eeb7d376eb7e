import { lstat, opendir, realpath } from 'node:fs/promises';
import path from 'node:path';
import { type DatasetName, mayBeSpeltOtherwise, parseDatasetName } from '../../protocol/dataset-name.ts';
import { RelayError } from '../../protocol/errors.ts';
import { isPlainOnWindows, mayBeShortAlias } from '../../protocol/windows-name.ts';
import type { DataDir } from './data-dir.ts';
import { isNotThere } from './file-errors.ts';

/** Whether a name may be looked for at all. What the protocol would not let pass is not looked for either. */
export function isOffered(name: string, { hidden, platform }: Pick<DataDir, 'hidden' | 'platform'>): boolean {
  if (parseDatasetName(name) instanceof RelayError) return false;
  if (platform === 'win32' && !isPlainOnWindows(name)) return false;
  return hidden || !name.split('/').some((part) => part.startsWith('.'));
}

/** Whether a directory there may open a part under a spelling that it does not have itself. */
function isOpenedLoosely(part: string, platform: NodeJS.Platform): boolean {
  return platform === 'win32' || platform === 'darwin' || mayBeShortAlias(part);
}

/** Whether what a directory has under this name, if anything, is spelt like it, so that the directory need not be read for it. */
export const isFoundBySpelling = (part: string, platform: NodeJS.Platform): boolean =>
  !isOpenedLoosely(part, platform) && !mayBeSpeltOtherwise(part);

/**
 * Whether opening `name` can lead to nothing that is spelt otherwise on disk, which file systems do that ignore case or
 * keep short aliases. False also where a link is on the way, or nothing is there: then {@link findNormalized} tells.
 * @param root real path of the data directory.
 */
export async function isOwnSpelling(root: string, name: string, platform: NodeJS.Platform): Promise<boolean> {
  if (!name.split('/').some((part) => isOpenedLoosely(part, platform))) return true;
  // A short alias may survive in a real path where the system is not Windows.
  if (platform !== 'win32' && platform !== 'darwin') return false;
  const file = path.join(root, name);
  try {
    return (await realpath(file)) === file;
  } catch (error) {
    if (isNotThere(error)) return false;
    throw error;
  }
}

/**
 * Finds the name on disk that equals `name` part by part: the exact spelling first, then one that is the same in NFC
 * (the first in order of code units, where there are several). File systems differ in how they write accents.
 * @param root real path of the data directory.
 * @returns the name as it is on disk; undefined where there is none.
 */
export async function findNormalized(
  root: string,
  name: string,
  platform: NodeJS.Platform,
): Promise<DatasetName | undefined> {
  let dir = root;
  const found: string[] = [];
  for (const part of name.split('/')) {
    const isLoose = isOpenedLoosely(part, platform);
    const isSure = !isLoose && (await exists(path.join(dir, part)));
    const entry = isSure ? part : isLoose || mayBeSpeltOtherwise(part) ? await findEntry(dir, part) : undefined;
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

/** What a directory has under that very spelling, or one that is the same in NFC. */
async function findEntry(dir: string, part: string): Promise<string | undefined> {
  const normalized = part.normalize('NFC');
  let best: string | undefined;
  for await (const { name } of await opendir(dir)) {
    if (name === part) return name;
    if (name.normalize('NFC') === normalized && (best === undefined || name < best)) best = name;
  }
  return best;
}
