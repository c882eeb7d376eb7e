import { expect, test } from '@jest/globals';
import { choosePattern, type PatternFacts } from '../../../src/client/choose-pattern.ts';

test.each<[PatternFacts, string | undefined]>([
  [{}, 'stream'],
  [{ size: 0 }, 'stream'],
  [{ size: 32 * 1024, canOffload: true }, 'stream'],
  [{ size: 10 ** 12, canOffload: true, hasRanges: true }, 'stream'],
  [{ size: 10 ** 12, hasRanges: false }, 'stream'],
  [{ failed: { pattern: 'stream', code: 'transfer_interrupted' } }, 'offload'],
  [{ failed: { pattern: 'stream', code: 'connector_failed' }, canOffload: true }, 'offload'],
  [{ failed: { pattern: 'stream', code: 'transfer_interrupted' }, canOffload: false }, undefined],
  // What an upload would only meet again.
  [{ failed: { pattern: 'stream', code: 'dataset_not_found' } }, undefined],
  [{ failed: { pattern: 'stream', code: 'connector_offline' } }, undefined],
  [{ failed: { pattern: 'stream', code: 'output_failed' } }, undefined],
  [{ failed: { pattern: 'offload', code: 'connector_failed' } }, undefined],
])('%j is asked for by %s', (facts, pattern) => {
  const choice = choosePattern(facts);
  expect(choice?.pattern).toBe(pattern);
  if (choice !== undefined) expect(choice.reason).toMatch(/\w/);
});
