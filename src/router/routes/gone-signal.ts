import { RelayError } from '../../protocol/errors.ts';
import type { Call } from './route.ts';

/** Aborts when the app goes away. */
export function goneSignal({ response }: Pick<Call, 'response'>): AbortSignal {
  const gone = new AbortController();
  response.once('close', () => gone.abort(new RelayError('cancelled', 'the app went away')));
  return gone.signal;
}
