import type { CommandName } from '../protocol/commands.ts';
import { type ErrorCode, RelayError } from '../protocol/errors.ts';
import type { Exchange } from './exchange.ts';

/** Why a connector may not answer, whatever it is asked. */
const ANYTHING: readonly ErrorCode[] = [
  'connector_failed',
  'data_dir_unavailable',
  'dataset_not_found',
  'dataset_unreadable',
  'draining',
  'not_supported',
  'overloaded',
  'request_timeout',
];
const A_DATASET: readonly ErrorCode[] = [...ANYTHING, 'dataset_changed', 'dataset_too_recent', 'precondition_failed'];

/** What a connector may give as the reason of a failure, by what it was asked. The app's answer says no more than that. */
export const FAILURES_OF: Readonly<Record<CommandName, readonly ErrorCode[]>> = {
  list: ANYTHING,
  stat: A_DATASET,
  digest: [...A_DATASET, 'cancelled'],
  get_dataset: [...A_DATASET, 'cancelled', 'dataset_too_large', 'range_not_satisfiable'],
  get_dataset_stream: [...A_DATASET, 'cancelled', 'dataset_too_large', 'range_not_satisfiable'],
  get_dataset_offload: [
    ...A_DATASET,
    'cancelled',
    'dataset_too_large',
    'offload_unavailable',
    'store_full',
    'store_unavailable',
  ],
  cancel: [],
};

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
