import type { Source } from '../config/values.ts';
import { ReloadingFile } from '../config/reloading-file.ts';
import type { Logger } from '../observability/logger.ts';
import { RelayError } from '../protocol/errors.ts';
import { parseSecrets } from '../router/access/secrets.ts';

/** Where a secret thing was given: as text, or as a file that holds it, and where each of the two comes from. */
interface Given {
  readonly text: string | undefined;
  readonly file: string | undefined;
  readonly fileSource: Source | undefined;
}

/**
 * The token of a connector or an app, as it is now.
 * @returns undefined where none was given
 * @throws {RelayError} `usage` when the file cannot be read or holds no token
 */
export function tokenSource(given: Given, logger?: Logger): (() => string) | undefined {
  return choose(given, parseToken, 'token', logger);
}

/**
 * The secrets of a router, as they are now.
 * @returns undefined where none was given
 * @throws {RelayError} `usage` when the file cannot be read, holds none, or one is too short
 */
export function secretsSource(given: Given, logger?: Logger): (() => readonly string[]) | undefined {
  return choose(given, parseSecrets, 'secret', logger);
}

/** A file that was named on the command line wins over a variable, as every flag does. */
function choose<T>(
  { text, file, fileSource }: Given,
  parse: (text: string, source: string) => T,
  name: 'token' | 'secret',
  logger: Logger | undefined,
): (() => T) | undefined {
  if (file !== undefined && (text === undefined || fileSource?.from === 'flag')) {
    const reloading = openFile(`--${name}-file`, file, (content) => parse(content, `the ${name} file ${file}`), logger);
    return () => reloading.read();
  }
  if (text === undefined) return undefined;
  const value = parse(text, `RELAY_${name.toUpperCase()}`);
  return () => value;
}

function parseToken(text: string, source: string): string {
  const token = text.trim();
  // What Authorization may carry (RFC 6750 §2.1); anything else is another file, or one with more in it.
  if (!/^[A-Za-z0-9._~+/=-]+$/.test(token)) throw new RelayError('usage', `${source} holds no token`);
  return token;
}

/** A file that is read again when it changes. @throws {RelayError} `usage` when it cannot be read at the start. */
export function openFile<T>(
  flag: string,
  path: string,
  parse: (text: string) => T,
  logger: Logger | undefined,
): ReloadingFile<T> {
  try {
    return new ReloadingFile(path, parse, {
      onReload: () => logger?.info({ file: path }, 'a changed file was read again'),
      onError: (error) =>
        logger?.error(
          { file: path, detail: (error as Error).message },
          'a changed file cannot be used; the old content counts on',
        ),
    });
  } catch (thrown) {
    if (thrown instanceof RelayError) throw thrown;
    throw new RelayError('usage', `${flag}: cannot read ${path} (${(thrown as NodeJS.ErrnoException).code})`, {
      cause: thrown,
    });
  }
}
