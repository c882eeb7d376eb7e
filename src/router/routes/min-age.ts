import { RelayError } from '../../protocol/errors.ts';
import { minAge } from '../../protocol/fields.ts';
import { HEADER } from '../../protocol/headers.ts';
import type { Call } from './route.ts';

/** What a query asks for as `min_age`, in seconds; 0 where it asks for nothing. @throws {RelayError} invalid_request. */
export function readMinAge(query: URLSearchParams): number {
  const text = query.get('min_age') ?? '0';
  const value = /^\d+(?:\.\d+)?$/.test(text) ? minAge.safeParse(Number(text)) : undefined;
  if (value?.success !== true) throw new RelayError('invalid_request', 'min_age must be a number of seconds from 0');
  return value.data;
}

/** Has the answer say that it was given under this condition: a router that does not know it would pass over it. */
export function confirmMinAge({ response }: Pick<Call, 'response'>, minAgeS: number): void {
  if (minAgeS > 0) response.setHeader(HEADER.minAge, String(minAgeS));
}
