import { FAILURES_OF } from '../protocol/failures.ts';
import { RelayError } from '../protocol/errors.ts';
import type { Exchange } from './exchange.ts';

/** What a failure that a connector reported means to the app, which knows nothing of how its request was passed on. */
export function fitFailure({ name, answer: { transfer } }: Exchange, error: RelayError): RelayError {
  const { code, message, details } = error;
  // Whoever was to go on with a dataset found another one: that condition was the router's, not the app's.
  const isOfPart = code === 'precondition_failed' || code === 'range_not_satisfiable';
  if (isOfPart && transfer?.isBegun === true) return new RelayError('dataset_changed', message, { cause: error });
  const isAsked = code !== 'range_not_satisfiable' || transfer?.isOfPart === true;
  if (FAILURES_OF[name].includes(code) && isAsked) return error;
  return new RelayError('connector_failed', `the connector reported ${JSON.stringify(code)}: ${message}`, {
    cause: error,
    details,
  });
}
