import { randomBytes } from 'node:crypto';
import { appendFile, chmod, open, rename, truncate, unlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { platform } from 'node:process';
import { describe, expect, test } from '@jest/globals';
import { DataDir } from '../../../../src/connector/datasets/data-dir.ts';
import { Digests } from '../../../../src/connector/datasets/digests.ts';
import type { OpenDataset } from '../../../../src/connector/datasets/open.ts';
import { computePrefixTag, readPrefixLength } from '../../../../src/connector/datasets/prefix.ts';
import { readDataset } from '../../../../src/connector/datasets/read.ts';
import { openWanted } from '../../../../src/connector/patterns/selection.ts';
import { createDigest, finishDigest } from '../../../../src/http/digest.ts';
import { etag as etagField, type OnChange } from '../../../../src/protocol/fields.ts';
import { named, Sandbox } from '../support-dir.ts';

const CONTENT = randomBytes(20_000);
const never = new AbortController().signal;

/** A data directory with one dataset, and what opens it as a command would. */
async function openLog(content: Buffer = CONTENT) {
  const sandbox = await Sandbox.create({ log: content });
  const dataDir = await DataDir.open(sandbox.data, { hidden: false, platform });
  const resources = new AsyncDisposableStack();
  resources.use(sandbox);
  return {
    file: path.join(sandbox.data, 'log'),
    open: async (if_match?: string, onChange: OnChange = 'prefix'): Promise<OpenDataset> => {
      const held = onChange === 'prefix' ? { on_change: onChange } : {};
      return resources.use(await openWanted(dataDir, { dataset_name: named('log'), if_match, ...held }));
    },
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  };
}

async function readAll(dataset: OpenDataset): Promise<Buffer> {
  const pieces: Buffer[] = [];
  const write = (piece: Buffer): void => void pieces.push(Buffer.from(piece));
  await readDataset(dataset, { start: 0, end: dataset.facts.size, signal: never, write });
  return Buffer.concat(pieces);
}

/** Writes another content into the same file. */
async function overwrite(file: string, content: Buffer, position = 0): Promise<void> {
  const handle = await open(file, 'r+');
  await handle.write(content, 0, content.length, position);
  await handle.close();
}

const CHANGES: [string, (file: string) => Promise<void>][] = [
  ['is cut', (file) => truncate(file, CONTENT.length - 1)],
  ['is emptied', (file) => truncate(file, 0)],
  ['is emptied and grows beyond what it was', (file) => writeFile(file, randomBytes(2 * CONTENT.length))],
  ['is written anew at its beginning', (file) => overwrite(file, Buffer.from('anew'))],
  ['is written anew at the end of the prefix', (file) => overwrite(file, Buffer.from('anew'), CONTENT.length - 4)],
  [
    'is replaced by one that begins with the same',
    async (file) => {
      await writeFile(`${file}.new`, Buffer.concat([CONTENT, CONTENT]));
      await rename(`${file}.new`, file);
    },
  ],
  [
    'is put away for a new one',
    async (file) => {
      await rename(file, `${file}.1`);
      await writeFile(file, CONTENT);
    },
  ],
  ['is put away', (file) => rename(file, `${file}.1`)],
  ['is deleted', (file) => unlink(file)],
];

describe('the tag of a prefix', () => {
  const read = (content: Buffer) => async (position: number, length: number) =>
    content.subarray(position, position + length);

  test.each([0, 1, 4096, 4097, 20_000])('of %d bytes says how many, and is a strong entity tag', async (length) => {
    const tag = await computePrefixTag(7n, length, read(CONTENT));
    expect(etagField.safeParse(tag).success).toBe(true);
    expect(readPrefixLength(tag)).toBe(length);
    // What comes after it is not in it.
    expect(await computePrefixTag(7n, length, read(Buffer.concat([CONTENT, CONTENT])))).toBe(tag);
    expect(await computePrefixTag(8n, length, read(CONTENT))).not.toBe(tag);
    if (length > 0) expect(await computePrefixTag(7n, length - 1, read(CONTENT))).not.toBe(tag);
  });

  test.each([0, 4095, 20_000 - 4096, 19_999])('is another one where byte %d is', async (position) => {
    const other = Buffer.from(CONTENT);
    other[position] = (other[position] ?? 0) ^ 1;
    const length = CONTENT.length;
    expect(await computePrefixTag(7n, length, read(other))).not.toBe(await computePrefixTag(7n, length, read(CONTENT)));
  });

  test.each([undefined, '"eR3sx8BJKHAgZRNKM_rueA"', '"prefix-"', '"prefix-1"', '"prefix-01-eR3sx8BJKHAgZRNKM_rueA"'])(
    'is not read out of %s',
    (tag) => expect(readPrefixLength(tag)).toBeUndefined(),
  );
});

describe('a dataset that is held to its prefix', () => {
  test('may grow: what comes is what was there, and how far it has grown is known', async () => {
    await using log = await openLog();
    const dataset = await log.open();
    const { etag } = dataset.facts;
    expect([dataset.facts.size, dataset.currentSize]).toEqual([CONTENT.length, CONTENT.length]);
    await appendFile(log.file, 'more');
    expect((await readAll(dataset)).equals(CONTENT)).toBe(true);
    expect([dataset.facts.size, dataset.facts.etag, dataset.currentSize]).toEqual([
      CONTENT.length,
      etag,
      CONTENT.length + 4,
    ]);
    // A mode is no content.
    await chmod(log.file, 0o600);
    await dataset.verify();
  });

  test('may be empty', async () => {
    await using log = await openLog(Buffer.alloc(0));
    const dataset = await log.open();
    await appendFile(log.file, 'more');
    expect((await readAll(dataset)).length).toBe(0);
    expect((await log.open(dataset.facts.etag)).facts.size).toBe(0);
  });

  test.each(CHANGES)('fails when it %s', async (_, change) => {
    await using log = await openLog();
    const dataset = await log.open();
    await change(log.file);
    await expect(dataset.verify()).rejects.toMatchObject({ code: 'dataset_changed' });
    await expect(readAll(dataset)).rejects.toMatchObject({ code: 'dataset_changed' });
  });

  test('fails when it gets shorter than it was at opening, though the prefix is there', async () => {
    await using log = await openLog();
    const { etag } = (await log.open()).facts;
    await appendFile(log.file, 'more');
    const dataset = await log.open(etag);
    await truncate(log.file, CONTENT.length);
    await expect(dataset.verify()).rejects.toMatchObject({ code: 'dataset_changed' });
  });
});

describe('a prefix that was opened before', () => {
  test('is found again by its tag when the dataset has grown', async () => {
    await using log = await openLog();
    const { etag } = (await log.open()).facts;
    await appendFile(log.file, 'more');
    const dataset = await log.open(etag);
    expect(dataset.facts).toMatchObject({ size: CONTENT.length, etag });
    expect(dataset.currentSize).toBe(CONTENT.length + 4);
    expect((await readAll(dataset)).equals(CONTENT)).toBe(true);
    // One that is opened without a tag is another one by now.
    const now = await log.open();
    expect(now.facts.size).toBe(CONTENT.length + 4);
    expect(now.facts.etag).not.toBe(etag);
  });

  test.each(CHANGES.slice(0, 7))('is not when it %s', async (_, change) => {
    await using log = await openLog();
    const { etag } = (await log.open()).facts;
    await change(log.file);
    await expect(log.open(etag)).rejects.toMatchObject({ code: 'precondition_failed' });
  });

  test('and the whole are never taken for each other', async () => {
    await using log = await openLog();
    const whole = (await log.open(undefined, 'fail')).facts.etag;
    const prefix = (await log.open()).facts.etag;
    expect(whole).not.toBe(prefix);
    await expect(log.open(whole)).rejects.toMatchObject({ code: 'precondition_failed' });
    await expect(log.open(prefix, 'fail')).rejects.toMatchObject({ code: 'precondition_failed' });
  });
});

test('a digest counts only for the state of the file that it was computed of', async () => {
  await using log = await openLog();
  const digests = new Digests();
  const first = await log.open();
  const digest = await digests.compute(first, never);
  expect(digest).toBe(finishDigest(createDigest().update(CONTENT)));
  expect(digests.find(await log.open(first.facts.etag))).toBe(digest);
  // In the middle, where the tag does not look.
  await overwrite(log.file, Buffer.from('anew'), 10_000);
  const again = await log.open(first.facts.etag);
  expect(digests.find(again)).toBeUndefined();
  expect(await digests.compute(again, never)).not.toBe(digest);
});
