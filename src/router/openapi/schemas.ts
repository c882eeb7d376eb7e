import * as z from 'zod';
import {
  datasetInfo,
  heartbeat,
  offloadProgress,
  partsGrant,
  partsRequest,
  receipt,
  result,
  streamChunk,
  streamComplete,
  streamInit,
} from '../../protocol/answers.ts';
import {
  connectorInfo,
  connectorList,
  datasetList,
  datasetRequest,
  digestAnswer,
  offloadAnswer,
  problem,
  requestStatus,
  signedUrl,
  signRequest,
  syncAnswer,
} from '../../protocol/app.ts';
import { type ErrorCode, ERRORS } from '../../protocol/errors.ts';

/** A JSON Schema (2020-12), as OpenAPI 3.1 has it. */
export type JsonSchema = Readonly<Record<string, unknown>>;

/** The codes that travel. */
const CODES = (Object.keys(ERRORS) as ErrorCode[]).filter((code) => ERRORS[code].status !== null);

/** A problem document of the router's own: whoever reads one takes more, since it may be of a newer router. */
const ownProblem = problem
  .required({ type: true, title: true, status: true, detail: true })
  .extend({ code: z.enum(CODES as [ErrorCode, ...ErrorCode[]]) });

const ownStatus = requestStatus.extend({ error: ownProblem.optional() });

/** The schemas that the router checks by, under the names that the description of its interface gives them. */
const NAMED = {
  ConnectorInfo: connectorInfo,
  ConnectorList: connectorList,
  DatasetInfo: datasetInfo,
  DatasetList: datasetList,
  DatasetRequest: datasetRequest,
  DigestAnswer: digestAnswer,
  Health: z.object({ status: z.enum(['ok', 'ready']) }),
  Heartbeat: heartbeat,
  OffloadAnswer: offloadAnswer,
  OffloadProgress: offloadProgress,
  PartsGrant: partsGrant,
  PartsRequest: partsRequest,
  Problem: ownProblem,
  Receipt: receipt,
  RequestAccepted: ownStatus.extend({ location: z.url() }),
  RequestStatus: ownStatus,
  Result: result,
  SignedUrl: signedUrl,
  SignRequest: signRequest,
  StreamChunk: streamChunk,
  StreamComplete: streamComplete,
  StreamInit: streamInit,
  SyncAnswer: syncAnswer,
} satisfies Record<string, z.ZodType>;

/** The name of a schema in the description. */
export type SchemaName = keyof typeof NAMED;

/** Points to a schema. */
export const refer = (name: SchemaName): JsonSchema => ({ $ref: `#/components/schemas/${name}` });

/** The named schemas as JSON Schema, as what is sent has to be: unknown fields are ignored, so none forbids them. */
export function writeSchemas(): Record<string, JsonSchema> {
  const registry = z.registry<{ id: string }>();
  for (const [id, schema] of Object.entries(NAMED)) registry.add(schema, { id });
  const { schemas } = z.toJSONSchema(registry, {
    io: 'input',
    uri: (id) => `#/components/schemas/${id}`,
    override: ({ jsonSchema }) => {
      // The format says as much, in fewer words.
      if (jsonSchema.format === 'date-time') delete jsonSchema.pattern;
    },
  });
  return Object.fromEntries(
    Object.entries(schemas).map(([name, { $schema: _schema, $id: _id, ...schema }]) => [name, schema as JsonSchema]),
  );
}
