import { RelayError } from '../../protocol/errors.ts';

/** HS256 wants a key of at least as many bits as its hash has (RFC 7518 §3.2). */
const MIN_SECRET_LENGTH = 32;

/**
 * The secrets in the text of a secret file or of `RELAY_SECRET`, one a line: the first signs, all verify. Blank lines and
 * lines that begin with `#` do not count.
 * @param source where the text comes from, for the message.
 * @throws {RelayError} usage when there is none, or one is shorter than 32 characters.
 */
export function parseSecrets(text: string, source: string): readonly string[] {
  const secrets = text
    .split(/\r?\n/)
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('#'));
  if (secrets.length === 0) throw new RelayError('usage', `${source} holds no secret`);
  const short = secrets.findIndex((secret) => secret.length < MIN_SECRET_LENGTH);
  if (short >= 0) {
    throw new RelayError(
      'usage',
      `${source}: a secret needs ${MIN_SECRET_LENGTH} characters or more, and number ${short + 1} has ${secrets[short]?.length}; ` +
        'make one with `openssl rand -hex 32`',
    );
  }
  return secrets;
}
