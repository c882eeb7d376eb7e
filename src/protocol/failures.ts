import type { CommandName } from './commands.ts';
import { type ErrorCode, type ErrorDetails, isErrorCode, RelayError } from './errors.ts';

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

const ANY_COMMAND: ReadonlySet<ErrorCode> = new Set(Object.values(FAILURES_OF).flat());

/** The failure that a connector reported, with a code that none may report made into `connector_failed`. */
export function fromConnector(code: string, message: string, details: ErrorDetails = {}): RelayError {
  if (isErrorCode(code) && ANY_COMMAND.has(code)) return new RelayError(code, message || undefined, { details });
  return new RelayError('connector_failed', `the connector reported ${JSON.stringify(code)}: ${message}`, {
    details,
  });
}
