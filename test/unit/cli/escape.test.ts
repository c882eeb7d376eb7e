import { expect, test } from '@jest/globals';
import { assert, property, string } from 'fast-check';
import { escapeForTerminal } from '../../../src/cli/escape.ts';

test.each([
  ['\u001b[31mred\u001b[0m', String.raw`\x1b[31mred\x1b[0m`],
  ['line\r\nbreak\ttab\u0007', String.raw`line\x0d\x0abreak\x09tab\x07`],
  ['\u009b2J', String.raw`\x9b2J`],
  ['\u202egnp.exe', String.raw`\u{202e}gnp.exe`],
  ['\u2066a\u2069\u200f', String.raw`\u{2066}a\u{2069}\u{200f}`],
  ['\u{e0041}', String.raw`\u{e0041}`],
  ['\ud800', String.raw`\u{d800}`],
])('escapes %j', (text, shown) => {
  expect(escapeForTerminal(text)).toBe(shown);
});

test.each(['sales 2026.csv', 'größe.csv', '売上.csv', '👩\u200d💻.txt', 'नमस्\u200dते', '100%#\\x'])(
  'leaves %s alone',
  (text) => {
    expect(escapeForTerminal(text)).toBe(text);
  },
);

test('no text can move a cursor, start a sequence or reorder what is shown', () => {
  assert(
    property(string({ unit: 'binary' }), (text) => {
      const shown = escapeForTerminal(text);
      // oxlint-disable-next-line no-control-regex -- they are what must not be there
      expect(shown).not.toMatch(/[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff]/);
      expect(shown.isWellFormed()).toBe(true);
      expect(escapeForTerminal(shown)).toBe(shown);
    }),
  );
});
