import { RelayError } from '../../protocol/errors.ts';
import type { OnChange } from '../../protocol/fields.ts';
import type { Hello } from '../links/link.ts';

/**
 * The member of a command that asks for the bytes that were there at opening.
 * @throws {RelayError} not_supported when the connector did not say that it can hold to them.
 */
export function holdToPrefix({ capabilities }: Hello, onChange: OnChange): { on_change?: 'prefix' } {
  if (onChange === 'fail') return {};
  if (!capabilities.has('prefix')) {
    throw new RelayError(
      'not_supported',
      'this connector cannot send what was there of a dataset that grows (on_change: prefix); ask without it, or upgrade it',
    );
  }
  return { on_change: 'prefix' };
}
