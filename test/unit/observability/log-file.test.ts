import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, jest, test } from '@jest/globals';
import { LogFile } from '../../../src/observability/log-file.ts';

const CHECK_MS = 10_000;

let directory: string;
let path: string;
let fallen: string[];
let log: LogFile;

const create = (options: { maxBytes?: number; maxFiles?: number; path?: string } = {}): LogFile =>
  (log = new LogFile({ path, maxBytes: 1000, maxFiles: 3, fallback: (line) => fallen.push(line), ...options }));

const read = (name = 'relay.log'): string => readFileSync(join(directory, name), 'utf8');

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'relay-log-'));
  path = join(directory, 'relay.log');
  fallen = [];
  jest.useFakeTimers();
});

afterEach(async () => {
  log.close();
  jest.useRealTimers();
  await rm(directory, { recursive: true });
});

describe('a log file', () => {
  test('has every line as soon as it is written, after those of former processes', () => {
    writeFileSync(path, 'old\n');
    create().write('new\n');
    expect(read()).toBe('old\nnew\n');
  });

  test('is made with its directory, and not for all to read', () => {
    create({ path: join(directory, 'a', 'b', 'relay.log') }).write('x\n');
    expect(statSync(join(directory, 'a', 'b', 'relay.log')).mode & 0o007).toBe(0);
    expect(read('a/b/relay.log')).toBe('x\n');
  });

  test('is rotated before it grows too large, and the oldest goes', () => {
    create({ maxBytes: 10 });
    for (const letter of 'abcde') log.write(`${letter.repeat(5)}\n`);
    expect(readdirSync(directory)).toEqual(['relay.log', 'relay.log.1', 'relay.log.2']);
    expect([read(), read('relay.log.1'), read('relay.log.2')]).toEqual(['eeeee\n', 'ddddd\n', 'ccccc\n']);
  });

  test('keeps a line whole that is larger than a file may be', () => {
    create({ maxBytes: 4 });
    for (const line of ['0123456789\n', 'x\n']) log.write(line);
    expect([read(), read('relay.log.1')]).toEqual(['x\n', '0123456789\n']);
  });

  test('may be only one file', () => {
    create({ maxBytes: 4, maxFiles: 1 });
    for (const line of ['aaa\n', 'bbb\n']) log.write(line);
    expect([readdirSync(directory), read()]).toEqual([['relay.log'], 'bbb\n']);
  });

  test('is begun anew where another program moved it away', () => {
    create().write('a\n');
    renameSync(path, join(directory, 'moved'));
    jest.advanceTimersByTime(CHECK_MS);
    log.write('b\n');
    rmSync(path);
    jest.advanceTimersByTime(CHECK_MS);
    log.write('c\n');
    expect([read('moved'), read()]).toEqual(['a\n', 'c\n']);
  });

  test('leaves no descriptor behind, however often it is rotated or fails', () => {
    const count = (): number => readdirSync('/proc/self/fd').length;
    create({ maxBytes: 10 }).write('first\n');
    const before = count();
    for (let line = 0; line < 50; line++) {
      log.write(`line ${line}\n`);
      if (line % 10 === 0) rmSync(directory, { recursive: true });
      jest.advanceTimersByTime(CHECK_MS);
    }
    expect(count()).toBe(before);
    log.close();
    expect(count()).toBe(before - 1);
    const full = create({ path: '/dev/full' });
    for (let line = 0; line < 20; line++) {
      full.write('x\n');
      jest.advanceTimersByTime(CHECK_MS);
    }
    expect(count()).toBe(before - 1);
  });
});

describe('where it cannot be written', () => {
  test('lines go to the fallback, which is told why once', () => {
    create({ path: '/dev/full' });
    for (const line of ['a\n', 'b\n', 'c\n']) log.write(line);
    expect(fallen).toEqual([expect.stringMatching(/cannot write \/dev\/full \(ENOSPC/), 'a\n', 'b\n', 'c\n']);
  });

  test('they go to the file again as soon as that is possible', () => {
    const parent = join(directory, 'dir');
    writeFileSync(parent, 'a file where a directory should be');
    create({ path: join(parent, 'relay.log') }).write('a\n');
    rmSync(parent);
    mkdirSync(parent);
    log.write('b\n');
    jest.advanceTimersByTime(CHECK_MS);
    log.write('c\n');
    expect([fallen.slice(1), read('dir/relay.log')]).toEqual([['a\n', 'b\n'], 'c\n']);
  });
});
