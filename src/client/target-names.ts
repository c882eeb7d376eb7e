import { open, stat, unlink } from 'node:fs/promises';
import { randomBytes } from 'node:crypto';
import { INDEX_NAME } from './etag-index.ts';
import { parseDatasetName } from '../protocol/dataset-name.ts';
import { RelayError } from '../protocol/errors.ts';
import { isPlainOnWindows } from '../protocol/windows-name.ts';

/** Names that relay gives to what is not complete yet: a dataset of that name could pose as it. */
const OWN_NAME = /^\..*\.relay-[\w-]*(?:part|case)(?:\.json|\.lock)?$/i;

/**
 * The parts of a name that a file may be written under.
 * @param name relative, with `/` between its parts.
 * @throws {RelayError} output_failed when it would lead elsewhere, or this system cannot hold it.
 */
export function splitTargetName(name: string, platform: NodeJS.Platform): string[] {
  const problem = findProblem(name, platform);
  if (problem !== undefined) throw new RelayError('output_failed', `cannot write ${JSON.stringify(name)}: ${problem}`);
  return name.split('/');
}

function findProblem(name: string, platform: NodeJS.Platform): string | undefined {
  const parsed = parseDatasetName(name);
  if (parsed instanceof RelayError) return parsed.message;
  if (platform === 'win32' && !isPlainOnWindows(name)) return 'Windows cannot hold a file of that name';
  if (name.split('/').some((part) => OWN_NAME.test(part))) return 'relay keeps such names for what is not complete yet';
  // A dataset in its place would say of other files what it likes.
  if (name.split('/')[0]?.toLowerCase() === INDEX_NAME)
    return 'relay keeps what it knows of the other files under that name';
  return undefined;
}

/** What names have been taken, so that no two files become one. */
export class TakenNames {
  readonly #files = new Map<string, string>();
  readonly #directories = new Map<string, string>();
  readonly #told = new Set<string>();

  /** Takes a name. @returns the name that has it already, or one that differs in case only; undefined where it was free. */
  take(name: string): string | undefined {
    const folded = fold(name);
    const taken = this.#files.get(folded);
    if (taken === undefined) this.#files.set(folded, name);
    return taken;
  }

  /**
   * The outermost part of a name that was taken that is a directory, or has the name of one, and differs from another in case
   * only, with that other. Each is told once.
   */
  findTwin(name: string): readonly [string, string] | undefined {
    for (let at = name.indexOf('/'); at >= 0; at = name.indexOf('/', at + 1)) {
      const directory = name.slice(0, at);
      const folded = fold(directory);
      const twin = this.#directories.get(folded) ?? this.#files.get(folded);
      if (twin === undefined) this.#directories.set(folded, directory);
      else if (twin !== directory) return this.#tell(directory, twin);
    }
    const twin = this.#directories.get(fold(name));
    return twin === undefined || twin === name ? undefined : this.#tell(name, twin);
  }

  #tell(name: string, twin: string): readonly [string, string] | undefined {
    if (this.#told.has(name)) return undefined;
    this.#told.add(name);
    return [name, twin];
  }
}

/** As file systems that look at neither case nor composition compare, near enough. */
const fold = (name: string): string => name.normalize('NFC').toLowerCase().normalize('NFC');

/** Whether files in a directory that differ in case only are one, which takes a file to find out. */
export async function foldsCase(directory: string): Promise<boolean> {
  const id = randomBytes(6).toString('hex');
  const probe = `${directory}/.probe.relay-${id}-case`;
  await (await open(probe, 'wx', 0o600)).close();
  try {
    await stat(`${directory}/.PROBE.relay-${id}-case`);
    return true;
  } catch {
    return false;
  } finally {
    await unlink(probe);
  }
}
