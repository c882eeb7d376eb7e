import path from 'node:path';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { CAPABILITIES, formatCapabilities, parseCapabilities } from '../../../src/protocol/capabilities.ts';
import { encodeDatasetPath, parseDatasetName } from '../../../src/protocol/dataset-name.ts';
import { RelayError } from '../../../src/protocol/errors.ts';
import { parseMac } from '../../../src/protocol/mac.ts';
import { createRequestId, isRequestId, readRouterId } from '../../../src/protocol/request-id.ts';
import { datasetName, hex, macBytes, wildText } from './arbitraries.ts';

describe('a MAC address', () => {
  const SPELLINGS: ((digits: string) => string)[] = [
    (digits) => digits,
    (digits) => pairs(digits).join(':'),
    (digits) => pairs(digits).join('-'),
    (digits) => (digits.match(/..../g) as string[]).join('.'),
  ];
  const pairs = (digits: string): string[] => digits.match(/../g) as string[];

  test('has one form, however it was spelt', () => {
    fc.assert(
      fc.property(macBytes, fc.boolean(), fc.constantFrom('', ' ', '\t', '\n'), (bytes, upper, around) => {
        const digits = Buffer.from(bytes).toString('hex');
        for (const spell of SPELLINGS) {
          const spelt = upper ? spell(digits).toUpperCase() : spell(digits);
          expect(parseMac(around + spelt + around)).toBe(pairs(digits).join('-'));
        }
      }),
    );
  });

  test('reads its own form back', () => {
    fc.assert(
      fc.property(wildText, (text) => {
        const mac = parseMac(text);
        if (!(mac instanceof RelayError)) expect(parseMac(mac)).toBe(mac);
      }),
    );
  });

  test.each([
    '',
    'cc-28-aa-01-02',
    'cc-28-aa-01-02-03-04',
    'cc:28-aa:01-02:03',
    'cc28.aa01.020',
    'cc2.8aa.010203',
    'cg-28-aa-01-02-03',
    'cc28aa01020',
    'cc 28 aa 01 02 03',
    '\u0663c-28-aa-01-02-03',
    '0xcc28aa010203',
  ])('is not %p, and the error shows what was given', (text) => {
    const error = parseMac(text);
    expect(error).toMatchObject({ code: 'invalid_request', message: expect.stringContaining(JSON.stringify(text)) });
  });

  test('shows no more than a little of a long text', () => {
    expect((parseMac('x'.repeat(10_000)) as RelayError).message.length).toBeLessThan(200);
  });
});

describe('a dataset name', () => {
  test.each([
    'a',
    '100mb.csv',
    'a b#c%d?.csv',
    'reports/2026/q1.parquet',
    '...',
    '.hidden',
    'a..b',
    '..a/b..',
    ' ',
    'ä/😀',
    'a\\b',
    'C:x',
    'a\nb',
    'x'.repeat(4095),
  ])('may be %p', (name) => {
    expect(parseDatasetName(name)).toBe(name);
  });

  test.each([
    ['', 'empty'],
    ['/', 'relative'],
    ['/etc/passwd', 'relative'],
    ['a//b', 'empty'],
    ['a/', 'empty'],
    ['.', '"."'],
    ['..', '".."'],
    ['../a', '".."'],
    ['a/../b', '".."'],
    ['a/./b', '"."'],
    ['a/..', '".."'],
    ['a\0b', 'NUL'],
    ['\ud800', 'Unicode'],
    ['a\udc00b', 'Unicode'],
    ['x'.repeat(4096), 'longer'],
    ['€'.repeat(1366), 'longer'],
  ])('may not be %p', (name, why) => {
    expect(parseDatasetName(name)).toMatchObject({ code: 'invalid_request', message: expect.stringContaining(why) });
  });

  const climbing = fc
    .array(fc.oneof(fc.constantFrom('..', '.', '', 'a', '...', '..a', '%2e%2e', '..\\..', 'C:', '\0'), fc.string()), {
      maxLength: 6,
    })
    .map((parts) => parts.join('/'));

  test('cannot climb out of its directory', () => {
    fc.assert(
      fc.property(fc.oneof(climbing, wildText, datasetName), (text) => {
        const name = parseDatasetName(text);
        if (name instanceof RelayError) return;
        for (const [outcome, root] of [
          [path.posix.normalize(path.posix.join('/r', name)), '/r/'],
          [path.posix.resolve('/r', name), '/r/'],
        ] as const) {
          expect(outcome.startsWith(root) && outcome.length > root.length).toBe(true);
        }
        // Backslashes and colons are ordinary in a name, and no part of a name that Windows could hold at all.
        if (/[\\:]/.test(name)) return;
        expect(path.win32.resolve('C:\\r', name).startsWith('C:\\r\\')).toBe(true);
      }),
      { numRuns: 2000 },
    );
  });

  test('stays exactly as it was, in NFC or not', () => {
    fc.assert(
      fc.property(datasetName, (name) => {
        for (const form of [name.normalize('NFC'), name.normalize('NFD')]) {
          const parsed = parseDatasetName(form);
          if (!(parsed instanceof RelayError)) expect(parsed).toBe(form);
        }
      }),
    );
    expect(parseDatasetName('e\u0301')).toBe('e\u0301');
    expect(parseDatasetName('\u00e9')).toBe('\u00e9');
  });

  test('comes back from a URL path as it went in, whatever a URL parser does to it', () => {
    fc.assert(
      fc.property(fc.oneof(datasetName, climbing), (text) => {
        const name = parseDatasetName(text);
        if (name instanceof RelayError) return;
        const encoded = encodeDatasetPath(name);
        const { pathname, search, hash } = new URL(`http://router/base/${encoded}`);
        expect({ pathname, search, hash }).toEqual({ pathname: `/base/${encoded}`, search: '', hash: '' });
        expect(decodeURIComponent(encoded)).toBe(name);
        expect(encoded.split('/').map(decodeURIComponent).join('/')).toBe(name);
      }),
    );
  });
});

describe('capabilities', () => {
  test('are read back as they were written', () => {
    fc.assert(
      fc.property(fc.subarray([...CAPABILITIES]), (capabilities) => {
        expect([...parseCapabilities(formatCapabilities(capabilities))]).toEqual(capabilities);
      }),
    );
  });

  test('are read without regard to case, spaces, order and repetition; unknown words are ignored', () => {
    const words = ' Offset,BINARY,, time-travel ,offset,constructor,__proto__ ';
    expect([...parseCapabilities(words)]).toEqual(['binary', 'offset']);
  });

  test.each([null, undefined, '', ','])('are none in %p', (text) => {
    expect(parseCapabilities(text).size).toBe(0);
  });
});

describe('a request id', () => {
  test('begins with the id of its router, and is one that everybody accepts', () => {
    fc.assert(
      fc.property(hex(8), (routerId) => {
        const id = createRequestId(routerId);
        expect(isRequestId(id)).toBe(true);
        expect(readRouterId(id)).toBe(routerId);
        expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{32}$/);
      }),
    );
  });

  test('is never made twice', () => {
    expect(new Set(Array.from({ length: 1000 }, () => createRequestId('00000000'))).size).toBe(1000);
  });

  test('names no router where there is none to see', () => {
    expect(readRouterId('abc')).toBe('');
  });

  test.each(['', ' a', 'a\n', 'a/b', 'ä', 'a'.repeat(129)])('is not %p', (text) => {
    expect(isRequestId(text)).toBe(false);
  });
});
