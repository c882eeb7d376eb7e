import { mkdir, mkdtemp, readdir, realpath, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { DatasetName } from '../../../src/protocol/dataset-name.ts';

/** A temporary directory with a data directory `data` and something next to it, gone at the end of the scope. */
export class Sandbox implements AsyncDisposable {
  readonly top: string;
  /** The data directory. */
  readonly data: string;

  private constructor(top: string) {
    this.top = top;
    this.data = path.join(top, 'data');
  }

  static async create(files: Record<string, string | Buffer> = {}): Promise<Sandbox> {
    const sandbox = new Sandbox(await realpath(await mkdtemp(path.join(tmpdir(), 'relay-connector-'))));
    await mkdir(sandbox.data);
    for (const [name, content] of Object.entries(files)) await sandbox.write(name, content);
    return sandbox;
  }

  /** Writes a file below the data directory. @returns its path. */
  async write(name: string, content: string | Buffer): Promise<string> {
    const file = path.join(this.data, name);
    await mkdir(path.dirname(file), { recursive: true });
    await writeFile(file, content);
    return file;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.top, { recursive: true, force: true });
  }
}

/** A name as if the protocol had let it pass. */
export const named = (name: string): DatasetName => name as DatasetName;

/** How many descriptors this process has open. */
export const countDescriptors = async (): Promise<number> => (await readdir('/proc/self/fd')).length;

/** Does something over and over, with pauses of chance length inside `step`, until it is stopped. */
export class Churn {
  readonly #done: Promise<void>;
  #isOver = false;

  constructor(step: () => Promise<void>) {
    this.#done = this.#run(step);
  }

  async #run(step: () => Promise<void>): Promise<void> {
    while (!this.#isOver) await step();
  }

  /** Gives the other side a moment, of a length that no two rounds share. */
  static async pause(): Promise<void> {
    for (let left = Math.floor(Math.random() * 4); left > 0; left--) await new Promise(setImmediate);
  }

  stop(): Promise<void> {
    this.#isOver = true;
    return this.#done;
  }
}

/**
 * Collects what `look` sees while something churns: for at least `ms`, and on until all of `expected` was seen, so that the
 * race was really run; gives up waiting for that after ten seconds.
 */
export async function watchRace(
  ms: number,
  expected: readonly string[],
  look: () => Promise<string[]>,
): Promise<Set<string>> {
  const seen = new Set<string>();
  const start = performance.now();
  const elapsed = (): number => performance.now() - start;
  while (elapsed() < ms || (elapsed() < 10_000 && !expected.every((value) => seen.has(value)))) {
    for (const value of await look()) seen.add(value);
    // What looks may not have waited for anything, and the other side has to get its turn.
    await new Promise(setImmediate);
  }
  return seen;
}
