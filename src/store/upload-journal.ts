import { type FileHandle, open, readFile, unlink } from 'node:fs/promises';
import { isMissing } from './file-store-errors.ts';
import { isObjectKey } from './object-key.ts';

/** What an upload is, whatever of it has come. */
export interface UploadHeader {
  readonly key: string;
  readonly partSize: number;
  readonly startedAt: Date;
}

/** A part that is there as a whole. */
export interface KnownPart {
  readonly size: number;
  readonly etag: string;
}

const SUFFIX = '.parts';

/**
 * Which parts of an upload are there, so that a later process can take it up: lines of JSON beside the file that has the
 * bytes. The first says what the upload is; each other one that a part is whole, or no longer.
 */
export class UploadJournal {
  readonly #file: FileHandle;

  private constructor(file: FileHandle) {
    this.#file = file;
  }

  /** @param path of the file with the bytes. */
  static async create(path: string, { key, partSize, startedAt }: UploadHeader): Promise<UploadJournal> {
    const journal = new UploadJournal(await open(`${path}${SUFFIX}`, 'wx', 0o600));
    await journal.#append({ key, part_size: partSize, started_at: startedAt.toISOString() });
    return journal;
  }

  /** Takes up a journal and reads what it says; undefined where there is none, or it cannot be understood. */
  static async open(
    path: string,
  ): Promise<{ journal: UploadJournal; header: UploadHeader; parts: Map<number, KnownPart> } | undefined> {
    const text = await readFile(`${path}${SUFFIX}`, 'utf8').catch((error: unknown) => {
      if (isMissing(error)) return '';
      throw error;
    });
    // What a kill cut off in the middle has no end of line, and nobody was told of it.
    const whole = text.slice(0, text.lastIndexOf('\n') + 1);
    const [first, ...lines] = whole.split('\n').slice(0, -1).map(parse);
    const header = readHeader(first);
    if (header === undefined) return undefined;
    const parts = new Map<number, KnownPart>();
    for (const line of lines) {
      const { part: number, size, etag } = line;
      if (!isCount(number)) continue;
      if (isCount(size) && typeof etag === 'string') parts.set(number, { size, etag });
      else parts.delete(number);
    }
    const file = await open(`${path}${SUFFIX}`, 'r+');
    await file.truncate(Buffer.byteLength(whole));
    await file.close();
    return { journal: new UploadJournal(await open(`${path}${SUFFIX}`, 'a', 0o600)), header, parts };
  }

  /** The path of the bytes that a journal of this name is about; undefined for what is none. */
  static readName(name: string): string | undefined {
    return name.endsWith(SUFFIX) ? name.slice(0, -SUFFIX.length) : undefined;
  }

  /** Removes the journal of the file with the bytes. One that is not there is no error. */
  static async remove(path: string): Promise<void> {
    await unlink(`${path}${SUFFIX}`).catch((error: unknown) => {
      if (!isMissing(error)) throw error;
    });
  }

  /** Notes that a part is whole. Its bytes must be on the disk. */
  noteWhole(part: number, { size, etag }: KnownPart): Promise<void> {
    return this.#append({ part, size, etag });
  }

  /** Notes that a part is about to be written over, and resolves when that is on the disk. */
  async noteBroken(part: number): Promise<void> {
    await this.#append({ part });
    await this.#file.datasync();
  }

  /** A second call does nothing. */
  async close(): Promise<void> {
    await this.#file.close().catch(() => undefined);
  }

  /** In one write, so that lines of parts that end at once do not mix. */
  async #append(line: object): Promise<void> {
    await this.#file.appendFile(`${JSON.stringify(line)}\n`);
  }
}

type Line = Readonly<Record<string, unknown>>;

function parse(line: string): Line {
  try {
    return Object(JSON.parse(line)) as Line;
  } catch {
    return {};
  }
}

function readHeader(line: Line | undefined): UploadHeader | undefined {
  const { key, part_size: partSize, started_at: started } = line ?? {};
  const startedAt = new Date(String(started));
  if (typeof key !== 'string' || !isObjectKey(key) || !isCount(partSize) || Number.isNaN(startedAt.getTime())) {
    return undefined;
  }
  return { key, partSize, startedAt };
}

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;
