import { formatAttachment } from '../../http/content-disposition.ts';
import { wantsDigest } from '../../http/digest.ts';
import { parseDatasetName } from '../../protocol/dataset-name.ts';
import { RelayError } from '../../protocol/errors.ts';
import { type OnChange, onChange } from '../../protocol/fields.ts';
import { HEADER } from '../../protocol/headers.ts';
import type { SignedDataset } from '../access/url-signer.ts';
import type { Context } from '../context.ts';
import { contentHeaders, DATASET_HEADERS, factsOf, growthHeaders } from '../dataset-answer.ts';
import { buffer } from '../patterns/buffering.ts';
import { stream } from '../patterns/streaming.ts';
import { readAsyncWait } from './answer-later.ts';
import { answerCondition, cacheControl, holdToIfMatch, validatorHeaders, validatorsOf } from './dataset-conditions.ts';
import { acceptRanges, lookAt, select, type Selection, type Target } from './dataset-selection.ts';
import { readMac, refuseWhileDraining } from './links.ts';
import { answerOffload } from './offload.ts';
import { confirmMinAge, readMinAge } from './min-age.ts';
import { openRequest } from './open-request.ts';
import { readRepresentation } from './representation.ts';
import type { Call, Route } from './route.ts';

const PATH = '/connectors/{mac}/datasets/{path...}';

/** A dataset as an ordinary resource of HTTP (RFC 9110): GET with single ranges and preconditions, and HEAD. */
export const datasetRoutes: Route[] = [
  {
    method: 'GET',
    path: PATH,
    scope: 'app',
    signedFor: readName,
    async handle(context, call) {
      const target = readTarget(context, call);
      const pattern = readPattern(call);
      const selection = await select(context, call, target, { takesRange: pattern !== 'offload' });
      if (selection === 'answered') return;
      await give(context, call, target, pattern, selection);
    },
  },
  {
    method: 'HEAD',
    path: PATH,
    scope: 'app',
    signedFor: readName,
    async handle(context, call) {
      const target = readTarget(context, call);
      readPattern(call);
      const { request, response, id } = call;
      const wantDigest = wantsDigest(request.headers['want-repr-digest']);
      const info = await lookAt(context, call, target, { id, wantDigest });
      if (info === undefined && target.minAgeS > 0)
        throw new RelayError('not_supported', 'this connector tells nothing of a dataset beforehand, its age neither');
      const ranges = acceptRanges(context, target.mac);
      const validators = info === undefined ? {} : validatorsOf(factsOf(info));
      if (answerCondition(context, call, validators, ranges)) return;
      response.writeHead(200, {
        ...DATASET_HEADERS,
        ...validatorHeaders(validators),
        ...growthHeaders(target.onChange, info?.current_size),
        // Where nobody can say without reading it, what is not known is left out: HEAD reads nothing.
        ...(info !== undefined && {
          ...contentHeaders(target.dataset, info.content_type),
          'Content-Length': info.size,
        }),
        ...(wantDigest && info?.digest !== undefined && { [HEADER.reprDigest]: info.digest }),
        ...resourceHeaders(context, call, target, info?.etag),
        Vary: 'Accept-Encoding',
      });
      response.end();
    },
  },
];

const PATTERNS = ['sync', 'stream', 'offload'] as const;
type Pattern = (typeof PATTERNS)[number];

async function give(context: Context, call: Call, target: Target, kind: Pattern, selection: Selection): Promise<void> {
  const { request, response, query } = call;
  const representation = readRepresentation(request);
  const outlives = kind === 'offload' && readAsyncWait(request) !== undefined;
  const record = openRequest(context, call, { ...target, kind, keep: outlives || representation.wantDigest, outlives });
  if (kind === 'offload') {
    const filename = query.get('download') ?? '';
    // An upload announces nothing that the other conditions could be evaluated by.
    const held = selection.isLooked === undefined ? holdToIfMatch(request.headers) : selection;
    await answerOffload(context, record, call, { ...held, filename, redirect: true, wantDigest: false });
    return;
  }
  const wanted = {
    ...selection,
    ...representation,
    headers: ({ etag }: { etag?: string }) => resourceHeaders(context, call, target, etag),
  };
  if (kind === 'sync') buffer(context, record, request, response, { ...wanted, asBytes: true });
  else stream(context, record, request, response, { ...wanted, mayBuffer: query.get('via') === null });
}

/** What the resource says beside the dataset's own facts. */
function resourceHeaders(
  context: Context,
  { query }: Call,
  { mac, dataset }: Target,
  etag: string | undefined,
): Record<string, string> {
  const download = query.get('download');
  return {
    'Accept-Ranges': acceptRanges(context, mac),
    'Cache-Control': cacheControl(context, etag),
    ...(download !== null && { 'Content-Disposition': formatAttachment(download || dataset) }),
  };
}

/** @throws {RelayError} invalid_request when it names none of them. */
function readPattern({ query }: Call): Pattern {
  const name = query.get('via') ?? 'stream';
  const pattern = PATTERNS.find((each) => each === name);
  if (pattern === undefined) throw new RelayError('invalid_request', `via must be one of ${PATTERNS.join(', ')}`);
  return pattern;
}

/** @throws {RelayError} invalid_request when the query says something else than there is. */
function readOnChange({ query }: Call): OnChange {
  const known = onChange.safeParse(query.get('on_change') ?? 'fail');
  if (known.success) return known.data;
  throw new RelayError('invalid_request', `on_change must be one of ${onChange.options.join(', ')}`);
}

function readTarget(context: Context, call: Call): Target {
  refuseWhileDraining(context);
  const { mac, dataset } = readName(call.params);
  call.grant.requireDataset(mac, dataset);
  const minAgeS = readMinAge(call.query);
  confirmMinAge(call, minAgeS);
  return { mac, dataset, onChange: readOnChange(call), minAgeS };
}

function readName(params: Call['params']): SignedDataset {
  const mac = readMac(params);
  const dataset = parseDatasetName(params['path'] ?? '');
  if (dataset instanceof RelayError) throw dataset;
  return { mac, dataset };
}
