import { evaluatePreconditions, allowsRange, readSingleTag, type Validators } from '../../http/conditions.ts';
import { parseRange } from '../../http/range.ts';
import { chooseCoding, codedEtag, plainEtags } from '../../http/content-coding.ts';
import type { DatasetInfo } from '../../protocol/answers.ts';
import { type DatasetName, parseDatasetName } from '../../protocol/dataset-name.ts';
import { RelayError } from '../../protocol/errors.ts';
import type { Mac } from '../../protocol/mac.ts';
import type { Context } from '../context.ts';
import { contentHeaders, DATASET_HEADERS } from '../dataset-answer.ts';
import type { Link } from '../links/link.ts';
import { askStat } from '../patterns/catalog.ts';
import { stream } from '../patterns/streaming.ts';
import type { Part } from '../transfer.ts';
import { goneSignal } from './gone-signal.ts';
import { readMac, refuseWhileDraining } from './links.ts';
import { openRequest } from './open-request.ts';
import { readRepresentation } from './representation.ts';
import type { Call, Route } from './route.ts';

const PATH = '/connectors/{mac}/datasets/{path...}';

/** A dataset as an ordinary resource of HTTP (RFC 9110): GET with single ranges and preconditions, and HEAD. */
export const datasetRoutes: Route[] = [
  {
    method: 'HEAD',
    path: PATH,
    scope: 'app',
    async handle(context, call) {
      const { mac, dataset } = readTarget(context, call);
      const link = context.registry.findLink(mac);
      if (link !== undefined && !link.hello.capabilities.has('stat')) {
        // Nobody can say without reading it, and HEAD reads nothing: what is not known is left out.
        call.response.writeHead(200, { ...DATASET_HEADERS, 'Accept-Ranges': 'none' }).end();
        return;
      }
      const info = await askStat(context, mac, dataset, goneSignal(call), call.id);
      if (answerCondition(context, call, mac, info)) return;
      const { size, content_type } = info;
      call.response.writeHead(200, {
        ...DATASET_HEADERS,
        ...contentHeaders(dataset, content_type),
        ...validatorHeaders(info),
        'Content-Length': size,
        'Accept-Ranges': acceptRanges(context.registry.findLink(mac)),
      });
      call.response.end();
    },
  },
  {
    method: 'GET',
    path: PATH,
    scope: 'app',
    async handle(context, call) {
      const { request, response } = call;
      const { mac, dataset } = readTarget(context, call);
      const wanted = await select(context, call, mac, dataset);
      if (wanted === 'answered') return;
      const representation = readRepresentation(request);
      const keep = representation.wantDigest;
      const record = openRequest(context, call, { kind: 'stream', mac, dataset, keep });
      stream(context, record, request, response, {
        ...wanted,
        ...representation,
        headers: { 'Accept-Ranges': acceptRanges(context.registry.findLink(mac)) },
      });
    },
  },
];

function readTarget(context: Context, call: Call): { mac: Mac; dataset: DatasetName } {
  refuseWhileDraining(context);
  const mac = readMac(call.params);
  const dataset = parseDatasetName(call.params['path'] ?? '');
  if (dataset instanceof RelayError) throw dataset;
  call.grant.requireDataset(mac, dataset);
  return { mac, dataset };
}

/**
 * The part that a GET is for, and the entity tag that it must have. Only what cannot be told without the dataset's size or
 * its validators costs a look at it first.
 */
async function select(
  context: Context,
  call: Call,
  mac: Mac,
  dataset: DatasetName,
): Promise<'answered' | { part?: Part | undefined; ifMatch?: string | undefined }> {
  const { headers } = call.request;
  if (headers.range !== undefined && context.registry.findLink(mac) === undefined)
    await awaitConnector(context, call, mac, dataset);
  const capabilities = context.registry.findLink(mac)?.hello.capabilities;
  const range = capabilities?.has('range') === true ? headers.range : undefined;
  const ifMatch = readSingleTag(headers['if-match']);
  const part = readPart(range);
  const needsValidators =
    headers['if-none-match'] !== undefined ||
    headers['if-modified-since'] !== undefined ||
    (headers['if-match'] !== undefined ? ifMatch === undefined : headers['if-unmodified-since'] !== undefined) ||
    (range !== undefined && headers['if-range'] !== undefined);
  if (!needsValidators && part !== 'needs size') return { part, ifMatch };
  if (capabilities?.has('stat') !== true) {
    if (headers['if-match'] !== undefined && ifMatch === undefined)
      throw new RelayError('precondition_failed', 'this connector cannot tell the entity tag beforehand');
    return { ifMatch };
  }
  const info = await askStat(context, mac, dataset, goneSignal(call));
  if (answerCondition(context, call, mac, info)) return 'answered';
  // What follows is held to what was looked at.
  const tag = { ifMatch: info.etag };
  const ifRange = headers['if-range'];
  if (!allowsRange(ifRange, validatorsOf(info))) return tag;
  const exact = parseRange(range, info.size);
  if (exact === 'unsatisfiable') {
    throw new RelayError('range_not_satisfiable', `the dataset has ${info.size} bytes`, {
      details: { size: info.size },
    });
  }
  return { ...tag, part: exact };
}

/** Waits for a connector that is away for a moment: without it nobody knows whether it can send parts. */
async function awaitConnector(context: Context, call: Call, mac: Mac, dataset: DatasetName): Promise<void> {
  try {
    await askStat(context, mac, dataset, goneSignal(call));
  } catch (error) {
    if (RelayError.from(error).code !== 'not_supported') throw error;
  }
}

/** The part that a `Range` field names; the last bytes of a dataset need its size. Undefined for the whole. */
function readPart(field: string | undefined): Part | 'needs size' | undefined {
  const range = parseRange(field, Number.MAX_SAFE_INTEGER);
  if (range === undefined) return undefined;
  if (range === 'unsatisfiable' || /=[\t ]*-/.test(field ?? '')) return 'needs size';
  const isOpen = range.offset + range.length >= Number.MAX_SAFE_INTEGER;
  return { offset: range.offset, ...(!isOpen && { length: range.length }) };
}

/** Answers 304 where a precondition asks for that. @throws {RelayError} precondition_failed. */
function answerCondition(context: Context, { request, response }: Call, mac: Mac, info: DatasetInfo): boolean {
  // What is not modified is so in every coding.
  const known = request.headers['if-none-match'];
  const headers = { ...request.headers, ...(known !== undefined && { 'if-none-match': plainEtags(known) }) };
  const verdict = evaluatePreconditions(headers, validatorsOf(info));
  if (verdict === 'proceed') return false;
  if (verdict === 'precondition_failed')
    throw new RelayError('precondition_failed', `the dataset ${JSON.stringify(info.name)} is not the one asked for`);
  const ranges = { 'Accept-Ranges': acceptRanges(context.registry.findLink(mac)) };
  // The tag is that of the representation that the client has, which may be a coded one.
  const coding = chooseCoding(request.headers['accept-encoding']);
  const coded = info.etag !== undefined && coding !== undefined ? codedEtag(info.etag, coding) : undefined;
  const tag = coded !== undefined && known?.includes(coded) === true ? { ETag: coded } : {};
  response.writeHead(304, { ...DATASET_HEADERS, ...validatorHeaders(info), ...ranges, ...tag }).end();
  return true;
}

const validatorsOf = ({ etag, mtime }: DatasetInfo): Validators => ({
  etag,
  lastModified: mtime === undefined ? undefined : new Date(mtime),
});

const validatorHeaders = ({ etag, mtime }: DatasetInfo): Record<string, string> => ({
  ...(etag !== undefined && { ETag: etag }),
  ...(mtime !== undefined && { 'Last-Modified': new Date(mtime).toUTCString() }),
});

const acceptRanges = (link: Link | undefined): string =>
  link?.hello.capabilities.has('range') === true ? 'bytes' : 'none';
