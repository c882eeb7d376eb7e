import { constants, type Stats } from 'node:fs';
import { type FileHandle, lstat, open } from 'node:fs/promises';
import { isOwnFile } from './file-lock.ts';
import { outputError } from './output-error.ts';
import { TemporaryFile } from './temporary-file.ts';

/** The file in the target directory that says which ETags its files had. */
export const INDEX_NAME = '.relay-index';

/** So many files are remembered; those that were noted longest ago are forgotten first. */
const MAX_NOTES = 500_000;
/** Of a longer file only the end is read, in bytes. */
const MAX_BYTES = 256 * 1024 * 1024;
/** So many lines that say nothing any more are left, beside as many as there are notes. */
const SPARE_LINES = 1000;
/** A FIFO in its place is not waited for. */
const SAFE_FLAGS = (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0);

/** Where a file came from. */
export interface NoteSource {
  readonly mac: string;
  readonly dataset: string;
}

/** What a file was like when its ETag was noted. */
export type FileState = Pick<Stats, 'size' | 'mtimeMs'>;

/** A line of the index. */
interface Line {
  readonly file: string;
  readonly mac: string;
  /** Where it is not the name of the file. */
  readonly dataset?: string;
  readonly etag: string;
  readonly size: number;
  readonly mtime_ms: number;
}

/** The ETag of what is known to be none of the dataset's any more: no dataset has it. */
const OUTDATED = '';

/** How an index is used. */
export interface EtagIndexOptions {
  /** Write nothing. Default false. */
  readonly readOnly?: boolean | undefined;
  /** Told, once, that it cannot be used, in words for people. */
  readonly onProblem?: ((text: string) => void) | undefined;
  readonly maxNotes?: number | undefined;
}

/**
 * Remembers, in a file of the target directory, which ETag each finished file had in its connector's listing: a line of JSON for
 * each, appended in one write, so that runs at the same time do not disturb each other and a kill loses the last ones at most.
 * It is never trusted against a file: what was noted counts only while size and time of the file are as they were. What
 * cannot be read in it is passed over, and without it nothing is lost but the comparison. No link is followed.
 */
export class EtagIndex {
  readonly #directory: string;
  readonly #options: EtagIndexOptions;
  readonly #notes = new Map<string, Line>();
  #pending: string[] = [];
  #writing: Promise<void> | undefined;
  #isUsable = true;

  private constructor(directory: string, options: EtagIndexOptions) {
    this.#directory = directory;
    this.#options = options;
  }

  /** Reads what there is, and writes it anew where most of it says nothing any more. It never fails: see `onProblem`. */
  static async open(directory: string, options: EtagIndexOptions = {}): Promise<EtagIndex> {
    const index = new EtagIndex(directory, options);
    await index.#load().catch((error: unknown) => index.#giveUp(error));
    return index;
  }

  /** The ETag that a file had, if it is what it was then and is from there. */
  etagOf(file: string, { mac, dataset }: NoteSource, { size, mtimeMs }: FileState): string | undefined {
    const note = this.#notes.get(file);
    const isSame =
      note?.mac === mac && (note.dataset ?? file) === dataset && note.size === size && note.mtime_ms === mtimeMs;
    return isSame ? note.etag : undefined;
  }

  /** Notes the ETag of a finished file. */
  note(file: string, source: NoteSource, state: FileState, etag: string): void {
    void this.#add(file, source, state, etag);
  }

  /**
   * Notes, where its ETag is known, that a file is about to be replaced. Resolves when that is written: whatever is there after a
   * kill, the one or the other, is not taken for the dataset by what was noted.
   */
  async outdate(file: string, source: NoteSource, state: FileState): Promise<void> {
    if (this.etagOf(file, source, state) !== undefined) await this.#add(file, source, state, OUTDATED);
  }

  /** Resolves when all is written. */
  async close(): Promise<void> {
    await this.#writing;
  }

  async #add(file: string, { mac, dataset }: NoteSource, { size, mtimeMs }: FileState, etag: string): Promise<void> {
    const line: Line = { file, mac, ...(dataset !== file && { dataset }), etag, size, mtime_ms: mtimeMs };
    this.#take(line);
    if (!this.#isUsable || this.#options.readOnly === true) return;
    this.#pending.push(JSON.stringify(line));
    this.#writing ??= this.#write();
    await this.#writing;
  }

  #take(line: Line): void {
    // The order is that of the notes, so that the oldest is the first.
    this.#notes.delete(line.file);
    this.#notes.set(line.file, line);
    const [oldest] = this.#notes.size > (this.#options.maxNotes ?? MAX_NOTES) ? this.#notes.keys() : [];
    if (oldest !== undefined) this.#notes.delete(oldest);
  }

  get #path(): string {
    return `${this.#directory}/${INDEX_NAME}`;
  }

  async #write(): Promise<void> {
    try {
      while (this.#pending.length > 0) {
        const lines = this.#pending;
        this.#pending = [];
        // Opened anew, since another run may have put another file in its place.
        const handle = await openOwn(this.#path, constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT);
        try {
          // What a kill has left without its end is a line of its own.
          await handle.appendFile(`\n${lines.join('\n')}\n`);
        } finally {
          await handle.close();
        }
      }
    } catch (error) {
      this.#giveUp(error);
    } finally {
      this.#writing = undefined;
    }
  }

  async #load(): Promise<void> {
    const found = await lstat(this.#path).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return undefined;
      throw error;
    });
    if (found === undefined) return;
    let lines = 0;
    const handle = await openOwn(this.#path, constants.O_RDONLY);
    try {
      const start = Math.max(0, found.size - MAX_BYTES);
      for await (const text of handle.readLines({ start, autoClose: false })) {
        if (text === '') continue;
        lines += 1;
        const line = parseLine(text);
        if (line !== undefined) this.#take(line);
      }
    } finally {
      await handle.close();
    }
    const isLong = found.size > MAX_BYTES || lines > 2 * this.#notes.size + SPARE_LINES;
    if (isLong && this.#options.readOnly !== true) await this.#compact(found);
  }

  /** Puts a file in its place that has what counts alone. What another run appends in that moment is lost, and no more. */
  async #compact(found: Stats): Promise<void> {
    const file = await TemporaryFile.create(this.#path, found);
    try {
      let text = '';
      for (const line of this.#notes.values()) {
        text += `${JSON.stringify(line)}\n`;
        if (text.length < 1024 * 1024) continue;
        await file.handle.appendFile(text);
        text = '';
      }
      await file.handle.appendFile(text);
      if ((await lstat(this.#path)).size === found.size) await file.commit(undefined);
    } finally {
      await file.discard();
    }
  }

  #giveUp(error: unknown): void {
    if (!this.#isUsable) return;
    this.#isUsable = false;
    this.#pending = [];
    const why = error instanceof NotOwn ? error.message : outputError(error, INDEX_NAME).message;
    this.#options.onProblem?.(`which ETags files had is not remembered: ${why}`);
  }
}

class NotOwn extends Error {
  constructor() {
    super(`${INDEX_NAME} is a link, or no file of this user's own`);
  }
}

/** @throws {NotOwn} where it is a link, no regular file, or another user's. */
async function openOwn(path: string, flags: number): Promise<FileHandle> {
  // Windows has no flag that keeps it from following.
  const found = await lstat(path).catch(() => undefined);
  if (found !== undefined && !isOwnFile(found)) throw new NotOwn();
  const handle = await open(path, flags | SAFE_FLAGS, 0o666);
  if (isOwnFile(await handle.stat())) return handle;
  await handle.close();
  throw new NotOwn();
}

/** A line; undefined where it says nothing that can be understood. */
function parseLine(text: string): Line | undefined {
  try {
    const { file, mac, dataset, etag, size, mtime_ms } = Object(JSON.parse(text)) as Record<string, unknown>;
    const isWhole =
      typeof file === 'string' &&
      typeof mac === 'string' &&
      (dataset === undefined || typeof dataset === 'string') &&
      typeof etag === 'string' &&
      typeof size === 'number' &&
      typeof mtime_ms === 'number';
    return isWhole ? { file, mac, ...(dataset !== undefined && { dataset }), etag, size, mtime_ms } : undefined;
  } catch {
    return undefined;
  }
}
