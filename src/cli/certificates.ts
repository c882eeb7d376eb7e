import { readFileSync } from 'node:fs';
import { RelayError } from '../protocol/errors.ts';

/**
 * The text of the file that `--ca` names.
 * @returns undefined where none was named
 * @throws {RelayError} `usage` when it cannot be read or holds no certificate
 */
export function readCertificates(file: string | undefined): string | undefined {
  if (file === undefined) return undefined;
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (thrown) {
    throw new RelayError('usage', `--ca: cannot read ${file} (${(thrown as NodeJS.ErrnoException).code})`, {
      cause: thrown,
    });
  }
  if (!text.includes('-----BEGIN CERTIFICATE-----')) {
    throw new RelayError('usage', `--ca: ${file} holds no certificate in PEM form`);
  }
  return text;
}
