import type { CommandName } from '../../protocol/commands.ts';
import type { ErrorCode } from '../../protocol/errors.ts';
import { FAILURES_OF } from '../../protocol/failures.ts';

/** What any endpoint may answer: a malformed request, one from the wrong place, the router's limits, a defect. */
export const ANY_ENDPOINT: readonly ErrorCode[] = [
  'invalid_request',
  'forbidden',
  'too_many_requests',
  'internal',
  'overloaded',
];

/** What reading a body may end with. */
export const WITH_BODY: readonly ErrorCode[] = ['request_timeout'];

/** What a question to a connector may fail with, by the commands that it takes. */
export const asking = (...commands: CommandName[]): readonly ErrorCode[] => [
  ...commands.flatMap((command) => FAILURES_OF[command]),
  'connector_offline',
];

/** The same where no part can be asked for. */
export const askingWhole = (...commands: CommandName[]): readonly ErrorCode[] =>
  asking(...commands).filter((code) => code !== 'range_not_satisfiable');

/** What any POST of a connector may be refused for. */
export const ANSWERING: readonly ErrorCode[] = [...WITH_BODY, 'request_gone', 'cancelled'];

/** What the beginning or the end of a dataset's bytes may end with: what contradicts itself, and what its app cannot take. */
export const ANSWERING_WITH_DATASET: readonly ErrorCode[] = [
  ...ANSWERING,
  'connector_failed',
  'dataset_changed',
  'dataset_too_large',
  'http_version_not_supported',
  'precondition_failed',
  'range_not_satisfiable',
];

/** What its bytes may end with, which come while others may end the request: another POST with a failure, too. */
export const ANSWERING_WITH_BYTES: readonly ErrorCode[] = [
  ...ANSWERING_WITH_DATASET,
  ...FAILURES_OF.get_dataset,
  ...FAILURES_OF.get_dataset_stream,
  'offset_mismatch',
];

/** What the store may fail with. */
export const STORING: readonly ErrorCode[] = ['store_full', 'store_unavailable'];
