import { X509Certificate } from 'node:crypto';
import type { Logger } from '../observability/logger.ts';
import { RelayError } from '../protocol/errors.ts';
import { openFile } from './credentials.ts';

/**
 * The text of the file that `--ca` names, as it is now.
 * @returns undefined where none was named
 * @throws {RelayError} `usage` when it cannot be read or holds no certificate
 */
export function certificatesSource(file: string | undefined, logger?: Logger): (() => string) | undefined {
  if (file === undefined) return undefined;
  const reloading = openFile('--ca', file, (text) => checkCertificates(text, file), logger);
  return () => reloading.read();
}

/** TLS itself leaves out in silence what it cannot read, and all that follows. */
function checkCertificates(text: string, file: string): string {
  const blocks = text.match(/-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----/gs) ?? [];
  if (blocks.length === 0) throw new RelayError('usage', `--ca: ${file} holds no certificate in PEM form`);
  for (const [index, block] of blocks.entries()) {
    try {
      void new X509Certificate(block);
    } catch (cause) {
      throw new RelayError('usage', `--ca: certificate ${index + 1} in ${file} cannot be read`, { cause });
    }
  }
  return text;
}
