import type { ErrorCode } from '../../protocol/errors.ts';
import { ANSWERING, ANSWERING_WITH_BYTES, ANSWERING_WITH_DATASET, STORING } from './errors.ts';
import { type Answer, BYTES, type Operation, type Operations } from './operation.ts';
import type { RequestHeader } from './parameters.ts';
import type { SchemaName } from './schemas.ts';

const receipt: Answer = {
  description: 'It counts, now or since an earlier POST.',
  content: { 'application/json': 'Receipt' },
};

/** What a body of bytes says of itself and its dataset. */
const OF_BYTES: readonly RequestHeader[] = [
  'Relay-Request-Id',
  'Relay-Offset',
  'Relay-Total-Size',
  'Relay-Current-Size',
  'Relay-Etag',
  'Last-Modified',
  'Repr-Digest',
  'Content-Encoding',
];

const inJson = (id: string, summary: string, schema: SchemaName, errors: readonly ErrorCode[]): Operation => ({
  id,
  summary,
  body: { content: { 'application/json': schema } },
  answers: { 200: receipt },
  errors,
});

const inJsonOrBytes = (id: string, summary: string, schema: SchemaName, errors: readonly ErrorCode[]): Operation => ({
  ...inJson(id, summary, schema, errors),
  headers: OF_BYTES,
  // The type of a body of bytes is the dataset's.
  body: { content: { 'application/json': schema, '*/*': BYTES } },
});

/** The endpoints by which connectors answer their commands. */
export const answerOperations: Operations = {
  'POST /datasets/result': inJsonOrBytes(
    'postResult',
    'A complete answer to a command, or why there is none',
    'Result',
    [...ANSWERING_WITH_BYTES, ...STORING],
  ),
  'POST /datasets/stream/init': inJson(
    'postStreamInit',
    'What is about to be sent',
    'StreamInit',
    ANSWERING_WITH_DATASET,
  ),
  'POST /datasets/stream/chunk': inJsonOrBytes(
    'postStreamChunk',
    'Some bytes of the dataset',
    'StreamChunk',
    ANSWERING_WITH_BYTES,
  ),
  'POST /datasets/stream/complete': inJson(
    'postStreamComplete',
    'All is sent',
    'StreamComplete',
    ANSWERING_WITH_DATASET,
  ),
  'POST /datasets/offload/parts': {
    ...inJson('postOffloadParts', 'Asks for URLs to upload parts by', 'PartsRequest', [...ANSWERING, ...STORING]),
    answers: { 200: { description: 'A URL for each part.', content: { 'application/json': 'PartsGrant' } } },
  },
  'POST /datasets/offload/progress': inJson(
    'postOffloadProgress',
    'How far an upload is',
    'OffloadProgress',
    ANSWERING,
  ),
};
