import { renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { ReloadingFile } from '../../../src/config/reloading-file.ts';
import { Workspace } from './workspace.ts';

function open(path: string) {
  let time = 0;
  const errors: unknown[] = [];
  let reloads = 0;
  const parse = (text: string): { text: string } => {
    if (text.includes('bad')) throw new Error('it is bad');
    return { text };
  };
  const file = new ReloadingFile(path, parse, {
    onError: (error) => errors.push(error),
    onReload: () => {
      reloads += 1;
    },
    now: () => time,
  });
  const later = (): { text: string } => {
    time += 1000;
    return file.read();
  };
  return { file, errors, later, reloads: () => reloads };
}

describe('a file that may change', () => {
  test('is the same object until it does, and is looked at once a second', () => {
    using work = new Workspace();
    const path = work.write('token', 'one');
    const { file, later, reloads } = open(path);
    const first = file.read();
    expect(later()).toBe(first);
    writeFileSync(path, 'two!');
    expect(file.read()).toBe(first);
    expect(later().text).toBe('two!');
    expect(reloads()).toBe(1);
  });

  test('may be replaced by another, or by way of a link, as mounted secrets are', () => {
    using work = new Workspace();
    const path = work.write('token', 'one');
    const { later } = open(path);
    renameSync(work.write('new', 'two'), path);
    expect(later().text).toBe('two');
    work.write('v1', 'three');
    work.write('v2', 'fours');
    rmSync(path);
    symlinkSync('v1', path);
    expect(later().text).toBe('three');
    symlinkSync('v2', join(work.path, 'swap'));
    renameSync(join(work.path, 'swap'), path);
    expect(later().text).toBe('fours');
  });

  test('that cannot be used any more, or is gone, leaves what it held, and says so once', () => {
    using work = new Workspace();
    const path = work.write('token', 'one');
    const { errors, later } = open(path);
    writeFileSync(path, 'bad');
    expect(later().text).toBe('one');
    expect(later().text).toBe('one');
    expect(errors).toHaveLength(1);
    rmSync(path);
    expect(later().text).toBe('one');
    expect(later().text).toBe('one');
    expect(errors).toHaveLength(2);
    writeFileSync(path, 'good again');
    expect(later().text).toBe('good again');
  });

  test('must be there and good at first', () => {
    using work = new Workspace();
    expect(() => open(join(work.path, 'nothing'))).toThrow(/ENOENT/);
    expect(() => open(work.write('token', 'bad'))).toThrow(/it is bad/);
  });
});
