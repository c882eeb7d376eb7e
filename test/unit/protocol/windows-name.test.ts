import path from 'node:path';
import { describe, expect, test } from '@jest/globals';
import * as fc from 'fast-check';
import { isOffered } from '../../../src/connector/datasets/resolve-name.ts';
import { isPlainOnWindows, mayBeShortAlias } from '../../../src/protocol/windows-name.ts';

describe('a name on Windows', () => {
  test.each([
    'a',
    'a.csv',
    'a/b/c.csv',
    'line 3/measured.csv',
    ' leading space',
    'a..b',
    '.hidden',
    'ä/😀.csv',
    'a~1.csv',
    "a'b#c%d;e,f=g+h[i]{j}!@^&()`$.csv",
    // Near to a device, and none.
    'console.txt',
    'CONTROL',
    'nul-values.csv',
    'null',
    'a.con',
    'a.nul.csv',
    'aux_1',
    'COM',
    'COM0',
    'COM10',
    'COM1-log.csv',
    'LPT',
    'lpt12.txt',
    'COM⁴',
    'CONIN',
    'xCON',
  ])('is plain: %j', (name) => {
    expect(isPlainOnWindows(name)).toBe(true);
    expect(isOffered(name, { hidden: true, platform: 'win32' })).toBe(true);
  });

  test.each([
    // Separators
    ['..\\secret.txt'],
    ['a\\b'],
    ['sub/..\\..\\secret.txt'],
    ['\\Windows\\win.ini'],
    // Drives, shares, devices by their path
    ['C:'],
    ['C:secret.txt'],
    ['C:/Windows/win.ini'],
    ['sub/C:x'],
    ['\\\\server\\share\\a'],
    ['//server/share/a'],
    ['\\\\?\\C:\\a'],
    ['\\\\.\\PhysicalDrive0'],
    ['\\??\\C:\\a'],
    // Alternate data streams
    ['a.csv:secret'],
    ['a.csv::$DATA'],
    ['sub:$I30:$INDEX_ALLOCATION/a'],
    // Dropped at the end
    ['.. /secret.txt'],
    ['... /secret.txt'],
    ['.../a'],
    ['a.csv.'],
    ['a.csv '],
    ['a.csv . .'],
    ['sub./a'],
    ['sub /a'],
    [' '],
    // Devices
    ['CON'],
    ['con'],
    ['PRN'],
    ['AUX'],
    ['NUL'],
    ['nul.csv'],
    ['NUL.tar.gz'],
    ['nul .csv'],
    ['sub/NUL'],
    ['NUL/a'],
    ['COM1'],
    ['com9.log'],
    ['LPT1'],
    ['COM¹'],
    ['COM²'],
    ['com³.csv'],
    ['LPT¹'],
    ['lpt².txt'],
    ['LPT³'],
    ['CONIN$'],
    ['conout$'],
    ['CONOUT$.txt'],
    // Wildcards, and what no name can hold
    ['*'],
    ['a?.csv'],
    ['a"b'],
    ['a<b'],
    ['a>b'],
    ['a|b'],
    ['a\nb'],
    ['a\u0001b'],
  ])('is something else, or cannot be: %j', (name) => {
    expect(isPlainOnWindows(name)).toBe(false);
    expect(isOffered(name, { hidden: true, platform: 'win32' })).toBe(false);
  });

  test.each(['a\\b', 'C:x', 'a.csv:secret', 'NUL', 'a.csv.', 'a ', '.. ', 'a?*', 'a\nb'])(
    'is any name elsewhere: %j',
    (name) => {
      for (const platform of ['linux', 'darwin'] as const)
        expect(isOffered(name, { hidden: true, platform })).toBe(true);
    },
  );

  test('that is offered stays below the directory, as the paths of Windows are put together, and as it was', () => {
    const part = fc.oneof(
      fc.constantFrom('..', '.. ', '.', '...', 'C:', 'a', 'NUL', '..\\..', '\\', '//', 'a:b', '\\\\?\\C:'),
      fc.string({ unit: 'binary', maxLength: 6 }),
    );
    const name = fc.array(part, { minLength: 1, maxLength: 5 }).map((parts) => parts.join('/'));
    fc.assert(
      fc.property(name, (text) => {
        if (!isOffered(text, { hidden: true, platform: 'win32' })) return;
        for (const root of ['C:\\data', '\\\\server\\share\\data']) {
          expect(path.win32.resolve(root, text)).toBe(`${root}\\${text.replaceAll('/', '\\')}`);
        }
      }),
      { numRuns: 3000 },
    );
  });
});

describe('a short alias', () => {
  test.each(['PROGRA~1', 'GIT~1', 'git~1', 'A~1.CSV', 'ABCDEF~1.TXT', 'AB12~12.C', '~1', 'DATA~999.PQ'])(
    'may be %j',
    (part) => expect(mayBeShortAlias(part)).toBe(true),
  );

  test.each(['a', 'a~', 'a~b', '~', 'measurements~1.csv', 'ABCDEFG~1', 'A~1.JSON', 'A~1.B.C', '.a~1'])(
    'is not %j',
    (part) => expect(mayBeShortAlias(part)).toBe(false),
  );
});
