import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { certificatesSource } from '../../../src/cli/certificates.ts';
import type { Logger } from '../../../src/observability/logger.ts';
import { makeCertificate } from '../../support/certificates.ts';
import { makeTempDir } from '../../support/router.ts';

test('a file of authorities is read again when it changes, and what is none changes nothing', async () => {
  await using directory = await makeTempDir();
  const path = (name: string): string => join(directory.path, name);
  const pem = async (name: string): Promise<string> => {
    await makeCertificate({ key: path(`${name}.key`), cert: path(name) });
    return readFile(path(name), 'utf8');
  };
  const [first, second] = [await pem('first'), await pem('second')];
  const broken = '-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n';
  for (const [text, words] of [
    ['', /holds no certificate/],
    [broken, /certificate 1 .* cannot be read/],
    [`${first}${broken}`, /certificate 2 .* cannot be read/],
  ] as const) {
    await writeFile(path('bad'), text);
    expect(() => certificatesSource(path('bad'))).toThrow(words);
  }
  await writeFile(path('ca'), `# ours\n${first}`);
  const lines: unknown[] = [];
  const note = (facts: object, text: string): number => lines.push([facts, text]);
  const logger = { info: note, error: note } as unknown as Logger;
  const read = certificatesSource(path('ca'), logger) as () => string;
  const until = async (isSo: () => boolean): Promise<void> => {
    while (!isSo()) await new Promise((resolve) => setTimeout(resolve, 20));
  };
  expect(read()).toContain(first);
  await writeFile(path('ca'), broken);
  await until(() => read() !== '' && lines.length === 1);
  expect(lines).toEqual([[expect.objectContaining({ file: path('ca') }), expect.stringMatching(/cannot be used/)]]);
  expect(read()).toContain(first);
  await writeFile(path('ca'), second);
  await until(() => read() === second);
});
