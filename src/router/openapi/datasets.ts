import { ASKING } from './errors.ts';
import { type Answer, BYTES, type Operations } from './operation.ts';
import type { RequestHeader, ResponseHeader } from './parameters.ts';

const CONDITIONS: readonly RequestHeader[] = [
  'If-Match',
  'If-None-Match',
  'If-Modified-Since',
  'If-Unmodified-Since',
  'Accept-Encoding',
  'Want-Repr-Digest',
  'traceparent',
];

const FACTS: readonly ResponseHeader[] = [
  'ETag',
  'Last-Modified',
  'Accept-Ranges',
  'Repr-Digest',
  'Cache-Control',
  'Content-Disposition',
  'Relay-On-Change',
  'Relay-Min-Age',
  'Relay-Current-Size',
];

const NOT_MODIFIED: Answer = {
  description: 'The client has it: `If-None-Match` or `If-Modified-Since`.',
  headers: ['ETag', 'Last-Modified', 'Accept-Ranges', 'Cache-Control', 'Relay-Min-Age'],
};

/** A dataset as a resource of HTTP. */
export const datasetOperations: Operations = {
  'GET /connectors/{mac}/datasets/{path...}': {
    id: 'getDataset',
    summary: 'A dataset as a resource of HTTP, with ranges and conditions',
    query: ['via', 'download', 'on_change', 'min_age', 'expires', 'signature'],
    headers: [...CONDITIONS, 'Range', 'If-Range', 'Want-Unencoded-Digest', 'Prefer', 'Cache-Control'],
    answers: {
      200: {
        description: 'The whole.',
        content: { '*/*': BYTES },
        headers: [
          ...FACTS,
          'Relay-Total-Size',
          'Content-Encoding',
          'Unencoded-Digest',
          'Preference-Applied',
          'Relay-Offload',
        ],
      },
      202: {
        description: '`via=offload` with `Prefer: respond-async` or `wait=N`.',
        content: { 'application/json': 'RequestAccepted' },
        headers: ['Location', 'Preference-Applied', 'Retry-After', 'Relay-Min-Age'],
      },
      206: {
        description: 'The part that `Range` names.',
        content: { '*/*': BYTES },
        headers: [...FACTS, 'Relay-Total-Size', 'Content-Range', 'Relay-Offload'],
      },
      304: NOT_MODIFIED,
      307: { description: '`via=offload`: to the store.', headers: ['Location', 'Cache-Control', 'Relay-Min-Age'] },
    },
    errors: [...ASKING, 'url_expired', 'offload_unavailable', 'http_version_not_supported'],
  },
  'HEAD /connectors/{mac}/datasets/{path...}': {
    id: 'headDataset',
    summary: 'What is known of a dataset without reading it',
    query: ['via', 'download', 'on_change', 'min_age', 'expires', 'signature'],
    headers: CONDITIONS,
    answers: { 200: { description: 'Its headers.', headers: FACTS }, 304: NOT_MODIFIED },
    errors: [...ASKING, 'url_expired'],
  },
};
