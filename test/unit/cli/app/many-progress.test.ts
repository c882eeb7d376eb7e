import { Writable } from 'node:stream';
import { expect, test } from '@jest/globals';
import { ManyProgress } from '../../../../src/cli/app/many-progress.ts';

/** A terminal that keeps what is drawn. */
function terminal(): { stream: Writable & { isTTY: true; columns: number }; text: () => string } {
  let shown = '';
  const stream = new Writable({
    write(piece: Buffer, _encoding, done) {
      shown += String(piece);
      done();
    },
  });
  return { stream: Object.assign(stream, { isTTY: true as const, columns: 120 }), text: () => shown };
}

test('shows a line for each transfer and one for all, with names that a terminal would not obey', () => {
  const { stream, text } = terminal();
  {
    using progress = new ManyProgress(stream, true, () => undefined);
    progress.expect(2048);
    progress.expect(10);
    progress.start('m', 'a\u001b[2J.csv', 2048);
    progress.update('m', 'a\u001b[2J.csv', 1024);
    progress.end('m', 'b', 10);
    progress.note('b failed \u001b[2J');
  }
  expect(text()).toContain('total');
  expect(text()).toContain('a\\x1b[2J.csv');
  expect(text()).toContain('1 of 2');
  expect(text()).toContain('relay: b failed \\x1b[2J');
  expect(text()).not.toContain('a\u001b[2J.csv');
});

test('draws nothing elsewhere, and says what is noted', () => {
  const { stream, text } = terminal();
  const notes: string[] = [];
  using progress = new ManyProgress(stream, false, (note) => void notes.push(note));
  progress.expect(1);
  progress.start('m', 'a', 1);
  progress.update('m', 'a', 1);
  progress.end('m', 'a', 1);
  progress.note('said');
  expect([text(), notes]).toEqual(['', ['said']]);
});
