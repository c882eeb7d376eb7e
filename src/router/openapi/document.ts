import { type ErrorCode, ERRORS, RelayError } from '../../protocol/errors.ts';
import { ROLES_OF } from '../access/access.ts';
import type { Route } from '../routes/route.ts';
import { answerOperations } from './answers.ts';
import { connectorOperations } from './connectors.ts';
import { datasetOperations } from './datasets.ts';
import { ANY_ENDPOINT } from './errors.ts';
import { linkOperations } from './links.ts';
import type { Answer, Content, Operation, Operations } from './operation.ts';
import { operationOperations } from './operations.ts';
import { PATH_PARTS, QUERY, REQUEST_HEADERS, RESPONSE_HEADERS } from './parameters.ts';
import { requestOperations } from './requests.ts';
import { type JsonSchema, refer, writeSchemas } from './schemas.ts';

/** The groups of endpoints, with what a reader is told of each. */
const GROUPS: readonly { name: string; description: string; operations: Operations }[] = [
  { name: 'requests', description: 'Apps ask for datasets.', operations: requestOperations },
  { name: 'datasets', description: 'Datasets as resources of HTTP.', operations: datasetOperations },
  { name: 'listings', description: 'Connectors and what they offer.', operations: connectorOperations },
  { name: 'links', description: 'Connectors hold a link, by which they get commands.', operations: linkOperations },
  { name: 'answers', description: 'Connectors answer commands.', operations: answerOperations },
  { name: 'operation', description: 'For those who run the router.', operations: operationOperations },
];

const INTRODUCTION =
  'Brings datasets out of on-premise machines through a central router. HEAD works wherever GET does. Unknown query ' +
  'parameters and fields are ignored, and fields may be added. Errors are problem documents (RFC 9457) with a `code` ' +
  'of a closed set, or a line of text to who prefers that to JSON. What is no request of HTTP is 400, 408, 417 or 431 ' +
  'everywhere. URLs of the store are not described: they are used as they are given.';

type Described = Readonly<Record<string, unknown>>;

/**
 * The description of a router's HTTP interface (OpenAPI 3.1), all but its `servers`, made of its routes.
 * @param options.asksForTokens whether the router refuses who has none.
 * @throws {RelayError} internal when one of them has no description.
 */
export function describeApi(routes: readonly Route[], options: { version: string; asksForTokens: boolean }): Described {
  const paths: Record<string, Record<string, Described>> = {};
  for (const route of routes) {
    const path = (paths[route.path.replace('...}', '}')] ??= {});
    path[route.method.toLowerCase()] = describeOperation(route, options.asksForTokens);
  }
  return {
    openapi: '3.1.1',
    info: {
      title: 'relay',
      version: options.version,
      description: INTRODUCTION,
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    tags: GROUPS.map(({ name, description }) => ({ name, description })),
    paths,
    components: {
      schemas: writeSchemas(),
      headers: RESPONSE_HEADERS,
      securitySchemes: {
        bearer: { type: 'http', scheme: 'bearer', bearerFormat: 'JWT', description: 'Of `relay token create`.' },
        basic: { type: 'http', scheme: 'basic', description: 'The token as the password, whatever the name.' },
      },
    },
  };
}

/** What is said of a route, and the group that says it. */
function find({ method, path }: Route): Operation & { tag: string } {
  for (const { name: tag, operations } of GROUPS) {
    const operation = operations[`${method} ${path}`];
    if (operation !== undefined) return { ...operation, tag };
  }
  throw new RelayError('internal', `nothing describes ${method} ${path}`);
}

function pathParameters({ path }: Route): Described[] {
  return [...path.matchAll(/\{(\w+)/g)].map(([, name = '']) => ({
    in: 'path',
    name,
    required: true,
    ...PATH_PARTS[name],
  }));
}

function describeOperation(route: Route, asksForTokens: boolean): Described {
  const { tag, id, summary, description, query = [], headers = [], body, answers, errors = [] } = find(route);
  const { scope, method } = route;
  const isGuarded = scope !== 'public' && scope !== 'signed';
  const codes = new Set([...ANY_ENDPOINT, ...(isGuarded ? (['unauthorized'] as const) : []), ...errors]);
  // Only what nobody waits for has no id.
  const isIdentified = scope !== 'connector' && scope !== 'answer';
  return {
    operationId: id,
    tags: [tag],
    summary,
    ...(description !== undefined && { description }),
    security: isGuarded
      ? [{ bearer: ROLES_OF[scope] }, { basic: ROLES_OF[scope] }, ...(asksForTokens ? [] : [{}])]
      : [],
    parameters: [
      ...pathParameters(route),
      ...query.map((name) => ({ in: 'query', name, ...QUERY[name] })),
      ...headers.map((name) => ({ in: 'header', name, ...REQUEST_HEADERS[name] })),
    ],
    ...(body !== undefined && {
      requestBody: { required: body.optional !== true, content: describeContent(body.content) },
    }),
    responses: {
      ...Object.fromEntries(
        Object.entries(answers).map(([status, answer]) => [status, describeAnswer(answer, isIdentified)]),
      ),
      ...describeErrors(codes, { isHead: method === 'HEAD', isIdentified }),
    },
  };
}

function describeAnswer({ description, content, headers = [] }: Answer, isIdentified: boolean): Described {
  const names = isIdentified ? (['Relay-Request-Id', ...headers] as const) : headers;
  return {
    description,
    ...(names.length > 0 && { headers: referHeaders(names) }),
    ...(content !== undefined && { content: describeContent(content) }),
  };
}

const describeContent = (content: Content): Described =>
  Object.fromEntries(
    Object.entries(content).map(([type, schema]) => [
      type,
      { schema: typeof schema === 'string' ? refer(schema) : schema },
    ]),
  );

const referHeaders = (names: Iterable<string>): Described =>
  Object.fromEntries([...names].map((name) => [name, { $ref: `#/components/headers/${name}` }]));

/** Of which kind of endpoint errors are. */
interface ErrorsOf {
  readonly isHead: boolean;
  readonly isIdentified: boolean;
}

/** The errors by status, each with the codes that it may have. */
function describeErrors(codes: Iterable<ErrorCode>, of: ErrorsOf): Described {
  const byStatus = Map.groupBy(codes, (code) => ERRORS[code].status ?? ERRORS.internal.status);
  return Object.fromEntries([...byStatus].map(([status, these]) => [status, describeError(these, of)]));
}

function describeError(codes: readonly ErrorCode[], { isHead, isIdentified }: ErrorsOf): Described {
  const headers = [
    ...(isIdentified ? ['Relay-Request-Id'] : []),
    'Retry-After',
    ...(codes.includes('unauthorized') ? ['WWW-Authenticate'] : []),
    ...(codes.includes('range_not_satisfiable') ? ['Content-Range'] : []),
    ...(isHead ? ['Relay-Problem'] : []),
  ];
  const schema: JsonSchema = { allOf: [refer('Problem'), { type: 'object', properties: { code: { enum: codes } } }] };
  return {
    description: codes.map((code) => `\`${code}\`: ${ERRORS[code].title}.`).join(' '),
    headers: referHeaders(headers),
    ...(!isHead && {
      content: { 'application/problem+json': { schema }, 'text/plain': { schema: { type: 'string' } } },
    }),
  };
}
