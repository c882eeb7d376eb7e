import { closeSync, fstatSync, openSync, readFileSync, type Stats } from 'node:fs';
import { resolve } from 'node:path';
import { parse } from 'dotenv';
import { RelayError } from '../protocol/errors.ts';

/** The variables that a file gave, and which file it was. */
export interface EnvFile {
  /** Absolute path. */
  readonly path: string;
  /** Only names that begin with `RELAY_` or `AWS_`. */
  readonly variables: Readonly<Record<string, string>>;
}

/**
 * Reads `.env` in `cwd`, or the file that was named. Of its variables only `RELAY_*` and `AWS_*` count: the file may
 * belong to another program that lives in the same directory.
 * @param explicit the file to read in place of `.env`, which then must exist
 * @returns undefined where there is no `.env`
 * @throws {RelayError} `usage` when the file cannot be read, or gives variables and others than its owner may write it,
 *   or its owner is neither the user nor root: who writes it decides where data goes
 */
export function readEnvFile(cwd: string, explicit?: string, uid = process.geteuid?.()): EnvFile | undefined {
  const path = resolve(cwd, explicit ?? '.env');
  const content = readRegular(path, explicit !== undefined);
  if (content === undefined) return undefined;
  const ours = Object.entries(parse(content.text)).filter(([name]) => /^(?:RELAY|AWS)_/.test(name));
  if (ours.length > 0) checkTrust(path, content.stats, uid);
  return { path, variables: Object.fromEntries(ours) };
}

function readRegular(path: string, mustExist: boolean): { text: string; stats: Stats } | undefined {
  let handle: number | undefined;
  try {
    // Opened first and looked at then, so that what is checked is what is read.
    handle = openSync(path, 'r');
    const stats = fstatSync(handle);
    // A directory of this name is a common place for Python's virtual environments.
    if (stats.isDirectory() && !mustExist) return undefined;
    return { text: readFileSync(handle, 'utf8'), stats };
  } catch (thrown) {
    const code = (thrown as NodeJS.ErrnoException).code;
    if (code === 'ENOENT' && !mustExist) return undefined;
    throw new RelayError('usage', `cannot read the environment file ${path} (${code ?? String(thrown)})`, {
      cause: thrown,
    });
  } finally {
    if (handle !== undefined) closeSync(handle);
  }
}

function checkTrust(path: string, stats: Stats, uid: number | undefined): void {
  // On Windows there is neither an owner's number nor such bits.
  if (uid === undefined) return;
  if (stats.uid !== uid && stats.uid !== 0) {
    throw new RelayError(
      'usage',
      `refusing ${path}: it belongs to another user (uid ${stats.uid}), who could change where data goes; own it yourself, or name another file with --env-file`,
    );
  }
  if (stats.mode & 0o022) {
    throw new RelayError(
      'usage',
      `refusing ${path}: others may write it, and so change where data goes; run chmod go-w ${path}`,
    );
  }
}
