import { expect, test } from '@jest/globals';
import { formatOffloadFacts, parseOffloadFacts } from '../../../src/protocol/offload-facts.ts';

test.each([
  [{}, 'available'],
  [{ isStored: true }, 'available;stored'],
  [{ isShort: true, streamRate: 1000 }, 'available;short;stream=1000'],
  [
    { isStored: true, isShort: true, streamRate: 1, uploadRate: 25e6 },
    'available;stored;short;stream=1;upload=25000000',
  ],
])('%j is %s, and is read as such', (facts, text) => {
  expect(formatOffloadFacts(facts)).toBe(text);
  expect(parseOffloadFacts(text)).toEqual({
    isStored: false,
    isShort: false,
    streamRate: undefined,
    uploadRate: undefined,
    ...facts,
  });
});

test.each([null, '', 'unavailable', 'stored', ';available', '"available"'])('%j names no such way', (text) => {
  expect(parseOffloadFacts(text)).toBeUndefined();
});

test('what a later router adds, or nonsense, is left out', () => {
  const text = 'available; stored ;later="a=b";stream=-1;upload=1e9;short=?0';
  expect(parseOffloadFacts(text)).toEqual({
    isStored: true,
    isShort: false,
    streamRate: undefined,
    uploadRate: undefined,
  });
});
