import { PassThrough } from 'node:stream';
import { expect, test } from '@jest/globals';
import { createProgress, wantsProgress } from '../../../../src/cli/app/progress.ts';

const terminal = { isTTY: true } as never;
const pipe = { isTTY: false } as never;

test.each([
  ['a terminal, data to a file', terminal, terminal, { output: 'f' }, true],
  ['a terminal, data to a pipe', terminal, pipe, {}, true],
  ['a terminal that the data go to as well', terminal, terminal, {}, false],
  ['the same, spelled -', terminal, terminal, { output: '-' }, false],
  ['no terminal', pipe, pipe, { output: 'f', progress: true }, false],
  ['a terminal, and --quiet', terminal, pipe, { quiet: true }, false],
  ['a terminal, and --no-progress', terminal, pipe, { progress: false }, false],
])('on %s', (_, stderr, stdout, options, shown) => {
  expect(wantsProgress({ stderr, stdout }, { quiet: false, ...options })).toBe(shown);
});

function makeTerminal(): { stream: PassThrough & { isTTY: boolean; columns: number }; text: () => string } {
  const stream = Object.assign(new PassThrough(), { isTTY: true, columns: 100, cursorTo: () => true });
  Object.assign(stream, { moveCursor: () => true, clearLine: () => true, clearScreenDown: () => true });
  let written = '';
  stream.on('data', (piece: Buffer) => {
    written += String(piece);
  });
  return { stream, text: () => written };
}

test('shows how much there is, how fast it comes and how long it takes', () => {
  const { stream, text } = makeTerminal();
  let time = 0;
  const progress = createProgress(stream, true, () => time);
  progress.begin('receiving', 10 * 1024 * 1024);
  time = 1000;
  progress.update(1024 * 1024);
  progress.end();
  expect(text()).toContain('receiving');
  expect(text()).toContain('10%');
  expect(text()).toContain('1.0 MiB/10.0 MiB  1.0 MiB/s  9 s left');
});

test('shows rate alone where the size is not known', () => {
  const { stream, text } = makeTerminal();
  let time = 0;
  const progress = createProgress(stream, true, () => time);
  progress.begin('receiving', undefined);
  time = 2000;
  progress.update(4096);
  progress.end();
  expect(text()).toContain('4.0 KiB  2.0 KiB/s');
});

test('writes nothing where it is not wanted', () => {
  const { stream, text } = makeTerminal();
  const progress = createProgress(stream, false);
  progress.begin('receiving', 1);
  progress.update(1);
  progress.end();
  expect(text()).toBe('');
});
