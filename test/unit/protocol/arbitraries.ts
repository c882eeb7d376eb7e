import fc from 'fast-check';
import type {
  DatasetInfo,
  OffloadProgress,
  PartsGrant,
  PartsRequest,
  Result,
  StreamChunk,
  StreamComplete,
  StreamInit,
} from '../../../src/protocol/answers.ts';
import type {
  ConnectorInfo,
  DatasetRequest,
  DigestAnswer,
  OffloadAnswer,
  Problem,
  RequestStatus,
  SyncAnswer,
} from '../../../src/protocol/app.ts';
import type { Command } from '../../../src/protocol/commands.ts';
import { type DatasetName, parseDatasetName } from '../../../src/protocol/dataset-name.ts';
import { RelayError } from '../../../src/protocol/errors.ts';
import type { Mac } from '../../../src/protocol/mac.ts';

const HEX = '0123456789abcdef';

/** Text of any code units, lone surrogates included: what a hostile peer can put into JSON. */
export const wildText = fc.oneof(
  fc.string(),
  fc.string({ unit: 'binary' }),
  fc.string({ unit: 'grapheme' }),
  loneText(),
);

function loneText(): fc.Arbitrary<string> {
  return fc.array(fc.integer({ min: 0, max: 0xffff })).map((units) => String.fromCharCode(...units));
}

const characters = (alphabet: string): fc.Arbitrary<string> => fc.constantFrom(...alphabet);

export const count = fc.maxSafeNat();
export const requestId = fc.stringMatching(/^[A-Za-z0-9_-]{1,128}$/);
export const macBytes = fc.uint8Array({ minLength: 6, maxLength: 6 });
const mac = macBytes.map((bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('-') as Mac);
export const datasetName = fc
  .array(fc.string({ unit: 'grapheme', minLength: 1, maxLength: 20 }), { minLength: 1, maxLength: 5 })
  .map((parts) => parts.join('/'))
  .filter((name) => !(parseDatasetName(name) instanceof RelayError)) as fc.Arbitrary<DatasetName>;
const etag = fc.stringMatching(/^"[\x21\x23-\x7e\x80-\xff]{0,60}"$/);
export const digest = fc
  .uint8Array({ minLength: 32, maxLength: 32 })
  .map((bytes) => `sha-256=:${Buffer.from(bytes).toString('base64')}:`);
export const timestamp = fc
  .date({ min: new Date('0001-01-01T00:00:00Z'), max: new Date('9999-12-31T23:59:59Z'), noInvalidDate: true })
  .map((date) => date.toISOString());
const contentType = fc.stringMatching(/^[a-z]{1,10}\/[a-z0-9.+-]{1,10}(; charset=[a-z0-9-]{1,8})?$/);
const httpUrl = fc.webUrl({ withQueryParameters: true, withFragments: true });
const encoding = fc.constantFrom('utf8' as const, 'base64' as const);
export const hex = (length: number): fc.Arbitrary<string> =>
  fc.string({ unit: characters(HEX), minLength: length, maxLength: length });

const headers = fc.dictionary(fc.stringMatching(/^[A-Za-z][A-Za-z-]{0,20}$/), fc.string());
const signed = { method: fc.constant('PUT' as const), url: httpUrl, headers };
const upload = fc.record({ ...signed, download_url: httpUrl, expires_at: timestamp });
const addressed = { request_id: requestId, dataset_name: datasetName };
const selection = { offset: count, length: count, if_match: etag, want_digest: fc.boolean() };
const ADDRESS = ['command', 'request_id', 'dataset_name'] as const;

export const command: fc.Arbitrary<Command> = fc.oneof(
  fc.record(
    { command: fc.constant('get_dataset' as const), ...addressed, ...selection, max_size: count },
    { requiredKeys: [...ADDRESS] },
  ),
  fc.record(
    { command: fc.constant('get_dataset_stream' as const), ...addressed, ...selection },
    { requiredKeys: [...ADDRESS] },
  ),
  fc.record(
    {
      command: fc.constant('get_dataset_offload' as const),
      ...addressed,
      if_match: etag,
      upload,
    },
    { requiredKeys: [...ADDRESS, 'upload'] },
  ),
  fc.record({ command: fc.constant('stat' as const), ...addressed }),
  fc.record({ command: fc.constant('digest' as const), ...addressed, if_match: etag }, { requiredKeys: [...ADDRESS] }),
  fc.record(
    {
      command: fc.constant('list' as const),
      request_id: requestId,
      limit: fc.integer({ min: 1, max: 1000 }),
      cursor: wildText,
      prefix: fc.string({ maxLength: 50 }),
      glob: fc.string({ maxLength: 50 }),
      delimiter: fc.constant('/' as const),
    },
    { requiredKeys: ['command', 'request_id', 'limit'] },
  ),
  fc.record({ command: fc.constant('cancel' as const), request_id: requestId }),
);

export const datasetInfo: fc.Arbitrary<DatasetInfo> = fc.record(
  { name: datasetName, size: count, mtime: timestamp, etag, content_type: contentType },
  { requiredKeys: ['name', 'size'] },
);

const partNumber = fc.integer({ min: 1, max: 10_000 });
const parts = fc.array(
  fc.record({ part_number: partNumber, etag: fc.string({ minLength: 1, maxLength: 512, unit: 'binary-ascii' }) }),
  { minLength: 1, maxLength: 20 },
);

export const result: fc.Arbitrary<Result> = fc.record(
  {
    request_id: requestId,
    error: fc.record(
      { code: fc.string({ maxLength: 64 }), message: fc.string({ maxLength: 4096 }), size: count },
      { requiredKeys: ['code'] },
    ),
    data: wildText,
    encoding,
    download_url: httpUrl,
    parts,
    size: count,
    etag,
    digest,
    last_modified: timestamp,
    content_type: contentType,
    dataset: datasetInfo,
    datasets: fc.array(datasetInfo, { maxLength: 3 }),
    prefixes: fc.array(
      datasetName.map((name) => `${name}/`),
      { maxLength: 3 },
    ),
    next: wildText,
  },
  { requiredKeys: ['request_id', 'encoding'] },
);

export const streamInit: fc.Arbitrary<StreamInit> = fc.record(
  { request_id: requestId, total_size: count, content_type: contentType, etag, last_modified: timestamp },
  { requiredKeys: ['request_id'] },
);
export const streamChunk: fc.Arbitrary<StreamChunk> = fc.record(
  { request_id: requestId, offset: count, data: wildText, encoding },
  { requiredKeys: ['request_id', 'data', 'encoding'] },
);
export const streamComplete: fc.Arbitrary<StreamComplete> = fc.record(
  { request_id: requestId, total_size: count, digest },
  { requiredKeys: ['request_id'] },
);
export const partsRequest: fc.Arbitrary<PartsRequest> = fc.record(
  { request_id: requestId, part_numbers: fc.array(partNumber, { minLength: 1, maxLength: 100 }), total_size: count },
  { requiredKeys: ['request_id', 'part_numbers'] },
);
export const partsGrant: fc.Arbitrary<PartsGrant> = fc.record({
  parts: fc.array(fc.record({ ...signed, part_number: partNumber }), { maxLength: 5 }),
  part_size: count.filter((size) => size > 0),
  expires_at: timestamp,
});
export const offloadProgress: fc.Arbitrary<OffloadProgress> = fc.record(
  { request_id: requestId, bytes_done: count, total_size: count },
  { requiredKeys: ['request_id', 'bytes_done'] },
);

export const datasetRequest: fc.Arbitrary<DatasetRequest> = fc.record({ mac, dataset: datasetName });
export const syncAnswer: fc.Arbitrary<SyncAnswer> = fc.record(
  {
    status: fc.constant('success' as const),
    data: wildText,
    encoding,
    size: count,
    etag,
    digest,
    last_modified: timestamp,
  },
  { requiredKeys: ['status', 'data', 'encoding', 'size'] },
);
export const offloadAnswer: fc.Arbitrary<OffloadAnswer> = fc.record(
  {
    status: fc.constant('success' as const),
    download_url: httpUrl,
    expires_at: timestamp,
    size: count,
    etag,
    digest,
    last_modified: timestamp,
  },
  { requiredKeys: ['status', 'download_url'] },
);
export const digestAnswer: fc.Arbitrary<DigestAnswer> = fc.record(
  { size: count, etag, digest },
  { requiredKeys: ['size', 'digest'] },
);
export const problem: fc.Arbitrary<Problem> = fc.record(
  {
    type: fc.string(),
    title: fc.string(),
    status: fc.integer({ min: 100, max: 599 }),
    detail: wildText,
    code: fc.string(),
    retryable: fc.boolean(),
    request_id: requestId,
    retry_after: fc.nat(),
    last_seen: fc.option(timestamp),
    next_offset: count,
    size: count,
    limit: count,
  },
  { requiredKeys: ['code', 'retryable'] },
);
export const requestStatus: fc.Arbitrary<RequestStatus> = fc.record(
  {
    request_id: requestId,
    state: fc.constantFrom('waiting', 'running', 'done', 'failed', 'cancelled'),
    bytes_done: count,
    total_size: fc.option(count),
    etag: fc.option(etag),
    digest: fc.option(digest),
    download_url: httpUrl,
    expires_at: timestamp,
    last_modified: timestamp,
    error: problem,
  },
  { requiredKeys: ['request_id', 'state', 'bytes_done', 'total_size', 'etag', 'digest'] },
);
export const connectorInfo: fc.Arbitrary<ConnectorInfo> = fc.record({
  mac,
  state: fc.constantFrom('online', 'offline'),
  last_seen: timestamp,
  link: fc.constantFrom('websocket', 'sse', null),
  version: fc.option(fc.string()),
  name: fc.option(fc.string()),
  labels: fc.dictionary(
    fc.string().filter((key) => key !== '__proto__'),
    fc.string(),
  ),
});
