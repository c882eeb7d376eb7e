import { createHash, randomFillSync } from 'node:crypto';
import { open } from 'node:fs/promises';
import { join } from 'node:path';

/** A file that the demo made, and what it must arrive as. */
export interface DemoDataset {
  readonly name: string;
  readonly size: number;
  /** SHA-256 in hex. */
  readonly sha256: string;
}

const MB = 1_000_000;

/** A table of measurements as a plant would keep it: 200,000 lines. */
export function makeCsv(directory: string): Promise<DemoDataset> {
  return write(directory, 'measurements.csv', csvBlocks());
}

function* csvBlocks(): Generator<Buffer> {
  yield Buffer.from('time,machine,temperature_c,pressure_kpa\n');
  for (let block = 0; block < 200; block++) {
    const rows = Array.from({ length: 1000 }, (_, row) => csvRow(block * 1000 + row));
    yield Buffer.from(rows.join(''));
  }
}

function csvRow(row: number): string {
  const time = new Date(Date.UTC(2026, 0, 1) + row * 60_000).toISOString();
  const temperature = (60 + 15 * Math.sin(row / 300)).toFixed(2);
  return `${time},press-${row % 12},${temperature},${(101 + (row % 97) / 10).toFixed(1)}\n`;
}

/** Bytes that nothing can compress. */
export function makeBinary(directory: string, name: string, bytes: number): Promise<DemoDataset> {
  function* blocks(): Generator<Buffer> {
    const block = Buffer.allocUnsafe(Math.min(MB, bytes));
    for (let left = bytes; left > 0; left -= block.length) yield randomFillSync(block).subarray(0, left);
  }
  return write(directory, name, blocks());
}

async function write(directory: string, name: string, blocks: Iterable<Buffer>): Promise<DemoDataset> {
  await using file = await open(join(directory, name), 'wx');
  const hash = createHash('sha256');
  let size = 0;
  for (const block of blocks) {
    hash.update(block);
    size += block.length;
    await file.writeFile(block);
  }
  return { name, size, sha256: hash.digest('hex') };
}
