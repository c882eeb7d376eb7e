import { chmodSync, mkdirSync } from 'node:fs';
import { RelayError } from '../protocol/errors.ts';

/** Makes the directory of what survives a restart, for this user alone. @throws {RelayError} usage when it cannot be used. */
export function openStateDir(directory: string): void {
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    chmodSync(directory, 0o700);
  } catch (cause) {
    throw new RelayError('usage', `cannot use the state directory ${directory}: ${(cause as Error).message}`, {
      cause,
    });
  }
}
