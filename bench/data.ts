import { randomFillSync } from 'node:crypto';
import { open, truncate, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

export const KIB = 1024;
export const MIB = 1024 * KIB;
export const GIB = 1024 * MIB;

/** A file that the connector and its rivals offer. */
export interface DataFile {
  readonly name: string;
  readonly path: string;
  readonly bytes: number;
}

/** Makes a file of bytes that nothing can compress. */
export async function makeRandom(directory: string, name: string, bytes: number): Promise<DataFile> {
  function* blocks(): Generator<Buffer> {
    for (let left = bytes; left > 0; left -= MIB) yield randomFillSync(Buffer.allocUnsafe(Math.min(left, MIB)));
  }
  return make(directory, name, blocks());
}

/** Makes a file that has a size and takes no room. */
export async function makeSparse(directory: string, name: string, bytes: number): Promise<DataFile> {
  const path = join(directory, name);
  await writeFile(path, '');
  await truncate(path, bytes);
  return { name, path, bytes };
}

/** Makes a table of measurements as a plant would keep it, of about so many bytes, in ASCII. */
export async function makeCsv(directory: string, name: string, bytes: number): Promise<DataFile> {
  function* blocks(): Generator<Buffer> {
    for (let left = bytes, row = 0; left > 0; row += 1000) {
      const block = Buffer.from(Array.from({ length: 1000 }, (_, at) => csvRow(row + at)).join('')).subarray(0, left);
      left -= block.length;
      yield block;
    }
  }
  return make(directory, name, blocks());
}

function csvRow(row: number): string {
  const time = new Date(Date.UTC(2026, 0, 1) + row * 1000).toISOString();
  const temperature = (60 + 15 * Math.sin(row / 300) + Math.random()).toFixed(2);
  return `${time},press-${row % 12},${temperature},${(101 + Math.random() * 10).toFixed(1)}\n`;
}

async function make(directory: string, name: string, blocks: Iterable<Buffer>): Promise<DataFile> {
  const path = join(directory, name);
  await using file = await open(path, 'w');
  let bytes = 0;
  for (const block of blocks) {
    await file.writeFile(block);
    bytes += block.length;
  }
  return { name, path, bytes };
}

/** Gives a file a new time, so that what was remembered of it holds no more. */
export async function touch({ path }: DataFile): Promise<void> {
  const now = new Date();
  await utimes(path, now, now);
}
