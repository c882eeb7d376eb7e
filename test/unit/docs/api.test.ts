import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { describeLibrary } from '../../../scripts/generate-api.ts';

test('the signatures in docs/api.md are those of the library (npm run api)', async () => {
  expect(await readFile(join(import.meta.dirname, '../../../docs/api.md'), 'utf8')).toBe(describeLibrary());
});
