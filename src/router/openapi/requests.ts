import type { ErrorCode } from '../../protocol/errors.ts';
import { ASKING } from './errors.ts';
import { type Answer, BYTES, type Operations } from './operation.ts';

const body = { content: { 'application/json': 'DatasetRequest' } } as const;

const FACTS = [
  'Relay-Total-Size',
  'ETag',
  'Last-Modified',
  'Repr-Digest',
  'Unencoded-Digest',
  'Content-Encoding',
  'Relay-On-Change',
  'Relay-Min-Age',
  'Relay-Current-Size',
  'Relay-Offload',
] as const;

const LATER: Answer = {
  description: 'The request goes on by itself, or is done: `Prefer: respond-async` or `wait=N`.',
  content: { 'application/json': 'RequestAccepted' },
  headers: ['Location', 'Preference-Applied', 'Retry-After', 'Relay-Min-Age'],
};

const OFFLOADING: readonly ErrorCode[] = [...ASKING, 'offload_unavailable'];

const NO_RECORD: readonly ErrorCode[] = ['request_gone'];

const status: Answer = { description: 'Where it stands.', content: { 'application/json': 'RequestStatus' } };

/** The endpoints by which apps ask for datasets and follow their requests. */
export const requestOperations: Operations = {
  'POST /datasets/sign': {
    id: 'signUrl',
    summary: 'A URL of one dataset for who has no token',
    body: { content: { 'application/json': 'SignRequest' } },
    answers: { 200: { description: 'The URL.', content: { 'application/json': 'SignedUrl' } } },
  },
  'POST /datasets/request-sync': {
    id: 'requestSync',
    summary: 'Pattern A: the dataset in one complete answer',
    headers: ['If-Match', 'Accept-Encoding', 'Want-Repr-Digest', 'Want-Unencoded-Digest', 'traceparent'],
    body,
    answers: {
      200: {
        description: 'The dataset, as bytes where `Accept` prefers `application/octet-stream` to JSON.',
        content: { 'application/json': 'SyncAnswer', 'application/octet-stream': BYTES },
        headers: FACTS,
      },
    },
    errors: ASKING,
  },
  'POST /datasets/request-stream': {
    id: 'requestStream',
    summary: 'Pattern B: the dataset as it comes',
    headers: ['If-Match', 'Accept-Encoding', 'Want-Repr-Digest', 'Want-Unencoded-Digest', 'Prefer', 'traceparent'],
    body,
    answers: {
      200: {
        description: 'The bytes, of the type that the node gives. What breaks off is reset, and never looks whole.',
        content: { '*/*': BYTES },
        headers: [...FACTS, 'Content-Disposition', 'Preference-Applied'],
      },
    },
    errors: [...ASKING, 'http_version_not_supported'],
  },
  'POST /datasets/request-offload': {
    id: 'requestOffload',
    summary: 'Pattern C: a URL to download the dataset by',
    headers: ['If-Match', 'Want-Repr-Digest', 'Want-Unencoded-Digest', 'Prefer', 'Cache-Control', 'traceparent'],
    body,
    answers: {
      200: {
        description: 'The dataset is in the store.',
        content: { 'application/json': 'OffloadAnswer' },
        headers: ['Relay-Min-Age'],
      },
      202: LATER,
    },
    errors: OFFLOADING,
  },
  'POST /datasets/request-digest': {
    id: 'requestDigest',
    summary: 'Size, entity tag and SHA-256 of the dataset',
    description: 'The node reads all of it, unless it knows the digest already.',
    headers: ['If-Match', 'Prefer', 'traceparent'],
    body,
    answers: {
      200: { description: 'The digest.', content: { 'application/json': 'DigestAnswer' }, headers: ['Relay-Min-Age'] },
      202: LATER,
    },
    errors: ASKING,
  },
  'GET /requests/{id}': {
    id: 'getRequest',
    summary: 'Where a request stands',
    query: ['wait'],
    answers: { 200: status },
    errors: NO_RECORD,
  },
  'DELETE /requests/{id}': {
    id: 'cancelRequest',
    summary: 'Cancels a request',
    description: 'One that has ended stays as it is.',
    answers: { 204: { description: 'It is cancelled, or had ended.' } },
    errors: NO_RECORD,
  },
};
