import { RelayError } from '../../protocol/errors.ts';
import type { Hello } from '../links/link.ts';

/**
 * The member of a command that asks for what has not changed for so many seconds; none for 0.
 * @throws {RelayError} not_supported when the connector did not say that it looks at that.
 */
export function holdToAge({ capabilities }: Hello, minAgeS: number): { min_age?: number } {
  if (minAgeS === 0) return {};
  if (!capabilities.has('min-age')) {
    throw new RelayError(
      'not_supported',
      'this connector does not look at how long ago a dataset changed (min_age); ask without it, or upgrade it',
    );
  }
  return { min_age: minAgeS };
}
