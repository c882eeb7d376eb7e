import { CONNECTOR_CODES, type ErrorCode } from '../../protocol/errors.ts';

/** What any endpoint may answer: a malformed request, one from the wrong place, the router's limits, a defect. */
export const ANY_ENDPOINT: readonly ErrorCode[] = [
  'invalid_request',
  'forbidden',
  'too_many_requests',
  'internal',
  'overloaded',
];

/** What a question to a connector may fail with, in any pattern. */
export const ASKING: readonly ErrorCode[] = [...CONNECTOR_CODES, 'connector_offline'];

/** What a POST of a connector may be refused for, beside what ended the request that it answers. */
export const ANSWERING: readonly ErrorCode[] = [...CONNECTOR_CODES, 'request_gone', 'offset_mismatch'];
