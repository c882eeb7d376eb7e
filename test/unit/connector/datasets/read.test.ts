import { randomBytes } from 'node:crypto';
import { appendFile, rename, truncate, unlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { platform } from 'node:process';
import { describe, expect, test } from '@jest/globals';
import { DataDir } from '../../../../src/connector/datasets/data-dir.ts';
import { Digests } from '../../../../src/connector/datasets/digests.ts';
import { type OpenDataset, openDataset } from '../../../../src/connector/datasets/open.ts';
import { READ_BYTES, readDataset } from '../../../../src/connector/datasets/read.ts';
import { createDigest, finishDigest } from '../../../../src/http/digest.ts';
import { named, Sandbox } from '../support-dir.ts';

const never = new AbortController().signal;

describe('reading a dataset', () => {
  test.each([0, 1, READ_BYTES - 1, READ_BYTES, READ_BYTES + 1, 3 * READ_BYTES + 17])(
    '%d bytes arrive as they are',
    async (size) => {
      const content = randomBytes(size);
      await using sandbox = await Sandbox.create({ file: content });
      await using dataset = await openDataset(
        await DataDir.open(sandbox.data, { hidden: false, platform }),
        named('file'),
      );
      const pieces: Buffer[] = [];
      const write = (piece: Buffer): void => void pieces.push(Buffer.from(piece));
      await readDataset(dataset, { start: 0, end: size, signal: never, write });
      expect(Buffer.concat(pieces).equals(content)).toBe(true);
      pieces.length = 0;
      const [start, end] = [Math.min(5, size), Math.max(Math.min(5, size), size - 3)];
      await readDataset(dataset, { start, end, signal: never, write });
      expect(Buffer.concat(pieces).equals(content.subarray(start, end))).toBe(true);
    },
  );

  test('what was read before, and a file that took its place, arrive as they are', async () => {
    const content = randomBytes(40_000);
    await using sandbox = await Sandbox.create({ file: content });
    const dataDir = await DataDir.open(sandbox.data, { hidden: false, platform });
    const read = async (start: number, end: number): Promise<Buffer> => {
      await using dataset = await openDataset(dataDir, named('file'));
      const pieces: Buffer[] = [];
      await readDataset(dataset, {
        start,
        end,
        signal: never,
        write: (piece) => void pieces.push(Buffer.from(piece)),
      });
      return Buffer.concat(pieces);
    };
    for (const [start, end] of [
      [0, 40_000],
      [0, 40_000],
      [4000, 9000],
      [39_999, 40_000],
    ] as const)
      expect((await read(start, end)).equals(content.subarray(start, end))).toBe(true);
    const other = randomBytes(40_000);
    await writeFile(path.join(sandbox.data, 'new'), other);
    await rename(path.join(sandbox.data, 'new'), path.join(sandbox.data, 'file'));
    expect((await read(0, 40_000)).equals(other)).toBe(true);
  });

  test('waits for each piece to be taken before it passes on the next', async () => {
    await using sandbox = await Sandbox.create({ file: Buffer.alloc(8 * READ_BYTES) });
    await using dataset = await openDataset(
      await DataDir.open(sandbox.data, { hidden: false, platform }),
      named('file'),
    );
    let taking = 0;
    let most = 0;
    await readDataset(dataset, {
      start: 0,
      end: 8 * READ_BYTES,
      signal: never,
      write: async () => {
        most = Math.max(most, ++taking);
        await new Promise(setImmediate);
        taking--;
      },
    });
    expect(most).toBe(1);
  });

  test.each<[string, (file: string) => Promise<void>]>([
    ['grows', (file) => appendFile(file, 'more')],
    ['is cut short', (file) => truncate(file, READ_BYTES + 10)],
    ['is emptied', (file) => truncate(file, 0)],
    ['is written anew, the same size', (file) => writeFile(file, Buffer.alloc(4 * READ_BYTES, 1))],
    [
      'is replaced',
      async (file) => {
        await writeFile(`${file}.new`, 'new');
        await rename(`${file}.new`, file);
      },
    ],
    ['is deleted', (file) => unlink(file)],
  ])('a file that %s meanwhile is dataset_changed, and its last piece is kept back', async (_, change) => {
    await using sandbox = await Sandbox.create({ file: Buffer.alloc(4 * READ_BYTES) });
    await using dataset = await openDataset(
      await DataDir.open(sandbox.data, { hidden: false, platform }),
      named('file'),
    );
    let sent = 0;
    const reading = readDataset(dataset, {
      start: 0,
      end: 4 * READ_BYTES,
      signal: never,
      write: async (piece) => {
        if (sent === 0) await change(path.join(sandbox.data, 'file'));
        sent += piece.length;
      },
    });
    await expect(reading).rejects.toMatchObject({ code: 'dataset_changed' });
    expect(sent).toBeLessThan(4 * READ_BYTES);
  });

  test.each([10, 300_000])(
    'gives every byte where the disk gives only a part of what it is asked for (%d)',
    async (size) => {
      const content = randomBytes(size);
      const dataset = {
        read: async (buffer: Buffer, length: number, position: number): Promise<number> => {
          await new Promise(setImmediate);
          return content.copy(buffer, 0, position, position + Math.ceil(length / 3));
        },
        verify: () => Promise.resolve(),
      } as unknown as OpenDataset;
      const pieces: Buffer[] = [];
      await readDataset(dataset, {
        start: 0,
        end: size,
        signal: never,
        write: async (piece) => {
          // Taken as late as it may be.
          for (let turns = 0; turns < 3; turns++) await new Promise(setImmediate);
          pieces.push(Buffer.from(piece));
        },
      });
      expect(Buffer.concat(pieces).equals(content)).toBe(true);
    },
  );

  test('stops when it is aborted', async () => {
    await using sandbox = await Sandbox.create({ file: Buffer.alloc(4 * READ_BYTES) });
    await using dataset = await openDataset(
      await DataDir.open(sandbox.data, { hidden: false, platform }),
      named('file'),
    );
    const abort = new AbortController();
    let pieces = 0;
    const reading = readDataset(dataset, {
      start: 0,
      end: 4 * READ_BYTES,
      signal: abort.signal,
      write: () => {
        pieces++;
        abort.abort(new Error('enough'));
      },
    });
    await expect(reading).rejects.toThrow('enough');
    expect(pieces).toBe(1);
  });
});

describe('digests', () => {
  test('are computed once for one state of a file', async () => {
    await using sandbox = await Sandbox.create({ file: 'content' });
    const dataDir = await DataDir.open(sandbox.data, { hidden: false, platform });
    const digests = new Digests();
    const expected = finishDigest(createDigest().update('content'));
    {
      await using dataset = await openDataset(dataDir, named('file'));
      expect(digests.find(dataset)).toBeUndefined();
      expect(await digests.compute(dataset, never)).toBe(expected);
      expect(digests.find(dataset)).toBe(expected);
    }
    await appendFile(path.join(sandbox.data, 'file'), '!');
    await using dataset = await openDataset(dataDir, named('file'));
    expect(digests.find(dataset)).toBeUndefined();
    expect(await digests.compute(dataset, never)).toBe(finishDigest(createDigest().update('content!')));
  });
});
